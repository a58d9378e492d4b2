"""Real engines for the tests: llama.cpp's own server, LiteLLM's own proxy, vLLM on a processor; and a client that counts for itself.

Belongs here: how they are installed (in virtual environments of their own, kept in the user's cache), started and ended, the
client, the tests that hold sovtui's figures and states against them, and the table `python -m tests.engines` of the README.
Recorded and pretended engines are in `tests/adapters/engines`.
"""
