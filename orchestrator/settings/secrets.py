"""Passwords and tokens in URIs: found, and taken out of what is written anywhere."""

from __future__ import annotations

import os
import re
from urllib.parse import unquote, urlsplit

USER = re.compile(r"(?<=://)\S*@")
NAMED = re.compile(r"([?&;][^=&;\s]*(?:pass|pwd|token|secret|key|sig)[^=&;\s]*=)[^&;\s'\"]+", re.IGNORECASE)
SECRET = re.compile(r"https?://\S*@|://\S*:\S*@", re.IGNORECASE)
"""A user's name alone is a token where there are no users."""
VARIABLES = ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")


def has_secret(uri: str) -> bool:
    return bool(SECRET.search(uri) or NAMED.search(uri))


def without_secrets(text: str) -> str:
    """A text without the users, passwords and tokens of its URIs, nor those that the environment holds for MLflow."""
    for secret in _known():
        text = text.replace(secret, "***")
    return NAMED.sub(r"\1***", USER.sub("", text))


def _known() -> list[str]:
    found = [os.environ.get(name) for name in VARIABLES]
    try:
        password = urlsplit(os.environ.get("MLFLOW_TRACKING_URI", "")).password
    except ValueError:
        password = None
    return [secret for secret in (*found, password, unquote(password or "")) if secret]
