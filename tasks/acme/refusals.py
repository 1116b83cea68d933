"""What the messages of ACME clients, ACME servers and DNS providers mean."""

from __future__ import annotations

import re

from invoke.runners import Result

from tasks.core.shell import AGAIN

# The first that matches counts.
REFUSALS = {
    r"rateLimited|too many [a-z ]+\(\d+\)|too many (certificates|failed authorizations|registrations)":
        "The ACME server's rate limit is reached. Its message shows when to try again; until then you can only wait. "
        "While you try things out, use a staging server (ACME_SERVER).",
    "certificate has expired|certificate is not yet valid|expired or is not yet valid":
        "Is this machine's clock correct? Compare with: date -u",
    "CERTIFICATE_VERIFY_FAILED|x509: ":
        "The certificate of the ACME server, or of the DNS provider's API, cannot be verified. If a CA of your company "
        "signed it, add that to ACME_CA_FILE.",
    "rejectedIdentifier|refuses to issue|Cannot issue for|valid public suffix|acme:error:caa|CAA record|Type: +caa":
        "The ACME server issues no certificates for this name. Check TLD and K3D_SUBDOMAIN, and the CAA records of the "
        "domain.",
    r"acme:error:dns\b|DNS problem:|time limit exceeded|No TXT record|[Ii]ncorrect (validation|TXT)|"
    "During secondary validation|failed to verify the DNS TXT":
        "The record was not seen in time. Check the servers in ACME_DNS_RESOLVERS, and that your credentials are for "
        "the zone of this domain.",
    # certbot also warns of the permissions of a file of credentials, which is no refusal.
    "(?i:(?<!permissions on )credential|unauthorized|access ?denied|InvalidClientTokenId)|NOTAUTH|BADKEY|BADSIG|"
    "REFUSED|peer didn't":
        "The DNS provider may refuse the credentials. Check the variables in .env that the client documents for "
        "ACME_DNS.",
    "(?i:connection refused|no such host|no route to host|NewConnectionError|Max retries exceeded|timeout|timed out|"
    "deadline exceeded)":
        "The ACME server or the DNS provider does not answer, or is not reached from here. Check ACME_SERVER and the "
        "proxy.",
}
"""What clients and servers report, as a regular expression, and what it means."""


def explain_refusal(result: Result) -> str:
    """What its output means. Some clients write the reason to stdout, which is not shown where there is stderr."""
    said = f"{result.stderr}\n{result.stdout}"
    advice = [text for pattern, text in REFUSALS.items() if re.search(pattern, said)][:1]
    quoted = [f"  | {line}" for line in result.stdout.splitlines()[-12:]] if result.stderr.strip() else []
    return "\n".join([*quoted, *advice, AGAIN])
