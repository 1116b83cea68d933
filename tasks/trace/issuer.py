"""An application behind OpenID Connect sends its users to an issuer, whose URL is traced too."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

from tasks.core.problems import Reason
from tasks.probe.browser import Page
from tasks.probe.issuer import DOCUMENT, judge_document
from tasks.probe.login import LoginReason, read_message
from tasks.probe.requests import request_from_host
from tasks.trace.context import HopFailure, HopResult, TraceContext, unknown

LOGIN_PATH = "/protocol/openid-connect/auth"
"""Where Keycloak signs users in, below the URL of a realm."""

SIGN_IN = "/oauth2/start"
"""Where oauth2-proxy leads to from its own page with a button."""


class IssuerHopReason(Reason):
    ISSUER_NOT_TRACED = "not traced: {error}"
    ISSUER_UNKNOWN = "not known: only the path of a Keycloak realm tells its issuer"


def find_login(trace: TraceContext) -> str:
    """The URL at the issuer that the application sends its users to; empty if it sends them to none."""
    answer = trace.answer
    if answer.status in (401, 403) and SIGN_IN in answer.body:
        answer = request_from_host(trace.cluster, trace.url.scheme, trace.url.host, SIGN_IN, trace.url.front_door)
    query = parse_qs(urlsplit(answer.location).query)
    return answer.location if {"client_id", "response_type"} <= query.keys() else ""


def check_issuer(trace: TraceContext) -> HopResult:
    """The issuer lets the application sign its users in, and is the issuer of exactly the URL that it is asked by."""
    url = trace.url
    issuer, separator, _ = url.url.partition(LOGIN_PATH)
    if not separator:
        return unknown(url.host, IssuerHopReason.ISSUER_UNKNOWN)
    document = request_from_host(trace.cluster, url.scheme, url.host, f"{urlsplit(issuer).path}{DOCUMENT}",
                                 url.front_door)
    if document.error:
        raise HopFailure(issuer, "", LoginReason.NO_ANSWER, url=issuer, error=document.error)
    if wrong := judge_document(issuer, document.status, document.body):
        raise HopFailure(issuer, "", wrong)
    if trace.answer.status >= 400:
        raise HopFailure(issuer, "", LoginReason.LOGIN_REFUSED,
                         message=read_message(Page(url.url, trace.answer.status, trace.answer.body)))
    return HopResult(issuer, "issuer of this URL, and takes the application's request")
