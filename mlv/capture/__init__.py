"""Captures of a process from outside its code; every capture returns plain values and writes nothing.

A capture never raises: an `error` beside the captured fields names those that could not be captured.
"""
