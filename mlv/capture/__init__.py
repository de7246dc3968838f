"""Captures of a process from outside its code; every capture returns plain values and writes nothing.

A capture never raises: what cannot be found out is recorded as such, in an `error` beside what could be.
"""
