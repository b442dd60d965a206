"""The generated pages: each a function of the declarations it is made from."""
