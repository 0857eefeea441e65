"""The ``audit`` service: records what agents use of what they may, and keeps tighter sandboxes.

An agent in audit mode runs in its present sandbox; a second filter tells this service of what it
does there. Nothing is allowed or forbidden here.
"""
