"""What runs on the box. Standard library only, Python 3.9 up; sent over the connection by `runtime.bundle`, never installed.

Must not import anything outside this package.
"""
