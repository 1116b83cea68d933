"""Sign in to an application by OpenID Connect's code flow, as a browser does, and read the token that its pod got."""

from __future__ import annotations

import base64
import html
import json
import re

from tasks.core.problems import Problem, Reason, problem
from tasks.core.settings import Cluster
from tasks.probe.browser import Browser, Page

TOKEN = "/token"
"""Where the page of the example shows the token."""


class LoginReason(Reason):
    """Why nobody can sign in."""

    NO_ANSWER = "{url} does not answer: {error}"
    NOT_SENT_TO_ISSUER = "HTTP {status}, and nobody is sent to the issuer"
    SENT_TO_OTHER_ISSUER = "the application sends the browser to {url}, which is not below {issuer}"
    LOGIN_REFUSED = "the issuer refuses what the application asks for: {message}"
    USER_REFUSED = "the issuer does not accept the user {user}: {message}"
    CODE_NOT_EXCHANGED = "{user} is signed in, but the application cannot use that: HTTP {status}"
    TOKEN_OF_OTHER_ISSUER = "the token was issued by {issuer}, and not by {expected}"


def sign_in(cluster: Cluster, app: str, issuer: str, user: str, password: str) -> Problem | None:
    """Sign in to the application at this URL; what is wrong, or None if its pod has a token of this issuer."""
    browser = Browser(cluster)
    page = browser.open(f"{app}/")
    if not is_below(page, issuer):
        return explain_missing_login(page, app, issuer)
    form = page.find_form("username")
    if form is None:
        return problem(LoginReason.LOGIN_REFUSED, message=read_message(page))
    page = browser.open(form.action, {**form.fields, "username": user, "password": password})
    if page.error:
        return problem(LoginReason.NO_ANSWER, url=without_query(page), error=page.error)
    if not is_below(page, app):
        return problem(LoginReason.USER_REFUSED, user=user, message=read_message(page))
    token = browser.open(f"{app}{TOKEN}")
    if page.status != 200 or token.status != 200:
        return problem(LoginReason.CODE_NOT_EXCHANGED, user=user, status=page.status)
    issued_by = read_issuer(token.body)
    return (problem(LoginReason.TOKEN_OF_OTHER_ISSUER, issuer=issued_by, expected=issuer)
            if issued_by != issuer else None)


def explain_missing_login(page: Page, app: str, issuer: str) -> Problem:
    """Why the first request did not end at the issuer."""
    if page.error:
        return problem(LoginReason.NO_ANSWER, url=without_query(page), error=page.error)
    if is_below(page, app):
        return problem(LoginReason.NOT_SENT_TO_ISSUER, status=page.status)
    return problem(LoginReason.SENT_TO_OTHER_ISSUER, url=without_query(page), issuer=issuer)


def is_below(page: Page, url: str) -> bool:
    return not page.error and page.url.startswith(f"{url}/")


def without_query(page: Page) -> str:
    return page.url.partition("?")[0]


def read_message(page: Page) -> str:
    """What Keycloak's page says is wrong; for other pages its status."""
    found = re.search(r'id="(?:kc-error-message|input-error-username)".*?>\s*([^<>\s][^<>]*)<', page.body, re.DOTALL)
    return html.unescape(found[1]).strip().rstrip(".") if found else f"HTTP {page.status}"


def read_issuer(token: str) -> str:
    """The `iss` of a JSON Web Token; it was verified by the application. https://datatracker.ietf.org/doc/html/rfc7519"""
    try:
        claims = token.split(".")[1]
        return str(json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["iss"])
    except (IndexError, ValueError, KeyError, TypeError):
        return f"nobody known ({token[:20]!r})"
