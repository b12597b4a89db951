"""The answer keys: what each exercise's answer must do, and which mistakes are common.

There is a file for each chapter. Reading a key gives much of an answer away.
"""
