"""Ask an issuer of OpenID Connect for its discovery document, and judge it.

https://openid.net/specs/openid-connect-discovery-1_0.html
"""

from __future__ import annotations

import json

from tasks.core.problems import Problem, Reason, problem

DOCUMENT = "/.well-known/openid-configuration"
"""Where an issuer's document is, below its URL."""

KEYCLOAK_REALM = "/realms/"


class IssuerReason(Reason):
    """Why a URL is not an issuer."""

    ISSUER_DIFFERS = "the issuer calls itself {issuer}, and not {url}: clients refuse it. For Keycloak, see KC_HOSTNAME"
    REALM_MISSING = "Keycloak answers, but has no realm {realm}"
    NO_DOCUMENT = "HTTP {status} in place of a discovery document: {body!r}"
    DOCUMENT_DIFFERS = "another document than this machine is given"


def judge_document(issuer: str, status: int, body: str) -> Problem | None:
    """What is wrong with the answer to a request for the document; None if it is the issuer's."""
    try:
        found = json.loads(body)
    except ValueError:
        found = {}
    found = found if isinstance(found, dict) else {}
    named = str(found.get("issuer", ""))
    realm = issuer.partition(KEYCLOAK_REALM)[2]
    if status == 404 and realm and "error" in found:
        return problem(IssuerReason.REALM_MISSING, realm=realm)
    if status != 200 or not named:
        return problem(IssuerReason.NO_DOCUMENT, status=status, body=body[:60])
    # The specification compares them character by character: section 4.3.
    return problem(IssuerReason.ISSUER_DIFFERS, issuer=named, url=issuer) if named != issuer else None
