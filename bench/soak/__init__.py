"""Steady load for a long time: does memory stay flat, and do the books balance?"""
