"""Graphical models of noisy marginals, and the two published mechanisms that use them: AIM and MST.

Written after the papers, with numpy alone, because the authors' library (mbi) compiles a program for every structure
that AIM tries: minutes for each of its rounds on one processor. A test compares estimates with that library's.
"""
