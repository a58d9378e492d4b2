"""sovtui: the terminal control room for a self-hosted LLM inference box."""

__version__ = "0.1.0"
