from typing_extensions import disjoint_base

@disjoint_base
class Node: ...

@disjoint_base
class Leaf(Node): ...
