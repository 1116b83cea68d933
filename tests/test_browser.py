"""A real browser signs in: at the Keycloak of one cluster, for the application of the other, with the padlock.

It is this machine's Chromium, driven by playwright. It trusts the root because `inv trust` has put it into the NSS
database of its home folder, and no option makes it ignore a certificate. With OIDC_PICTURES set, it makes the pictures
of docs/oidc.md, in clusters named as the defaults are.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from conftest import SOURCE
from pretend import is_free
from real_clusters import Clusters, why_not
from real_oidc import INSTALL, bring, run, two_clusters

from tasks.cluster import oidc
from tasks.dns.resolver import resolves
from tasks.probe.login import read_issuer

if TYPE_CHECKING:
    from playwright.sync_api import Page

PICTURES = SOURCE / "docs" / "pictures" if os.environ.get("OIDC_PICTURES") else None
PREFIX, START = "cl" if PICTURES else "dcw", 10

WIDTH = 600

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), "")


def why_no_browser() -> str:
    """Why no browser can be driven here; empty when one can."""
    if not importlib.util.find_spec("playwright"):
        return "playwright is not installed: pip install -e '.[browser]'"
    if not shutil.which("certutil"):
        return "certutil is not installed"
    return "" if BROWSER else "Chromium is not installed"


WHY_NOT = why_not() or why_no_browser()

pytestmark = [pytest.mark.cluster, pytest.mark.browser, pytest.mark.skipif(WHY_NOT != "", reason=WHY_NOT or "-")]


@pytest.fixture(scope="module")
def clusters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clusters]:
    """Clusters 0 and 1; the root is trusted by what runs with this home folder."""
    with two_clusters(tmp_path_factory.mktemp("clusters"), PREFIX, START, "TRUST_STORES=nss\n") as made:
        run(made, "trust")
        yield made


@pytest.fixture(scope="module", params=[True] if PICTURES else [True, False],
                ids=lambda has_port: "with port" if has_port else "without port")
def has_port(clusters: Clusters, request: pytest.FixtureRequest) -> bool:
    """Whether the URLs of the example, which this installs, have a port."""
    if not request.param:
        open_front_door(clusters)
    with (clusters.folder / ".env").open("a") as env:
        env.write(f"OIDC_ISSUER_PORT={str(request.param).lower()}\n")
    run(clusters, *INSTALL)
    return bool(request.param)


def open_front_door(clusters: Clusters) -> None:
    bring(clusters.settings.image_front_door)
    for port in (80, 443):
        if not is_free(port):
            pytest.skip(f"port {port} of this machine is taken, so no URL can do without a port")
    run(clusters, "front-door")


@contextmanager
def opened(home: Path, host: str) -> Iterator[Page]:
    """A page of a browser that has this home folder.

    Names are those of this machine's resolver; where it does not have them, the browser is told.
    """
    from playwright.sync_api import sync_playwright

    told = [] if resolves(host) else ["--host-resolver-rules=MAP *.internal 127.0.0.1"]
    root = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=[*told, *root, "--disable-gpu"],
                                             env={**os.environ, "HOME": str(home)})
        page = browser.new_context(viewport={"width": WIDTH, "height": 500}).new_page()
        page.set_default_timeout(180_000)
        yield page
        browser.close()


def has_padlock(page: Page) -> bool:
    """Whether the browser calls the page secure, which is what its padlock shows."""
    states: list[str] = []
    session = page.context.new_cdp_session(page)
    session.on("Security.visibleSecurityStateChanged",
               lambda event: states.append(event["visibleSecurityState"]["securityState"]))
    session.send("Security.enable")
    page.wait_for_timeout(500)
    session.detach()
    return states[-1:] == ["secure"]


def photograph(page: Page, name: str, height: int) -> None:
    if PICTURES:
        page.screenshot(path=PICTURES / f"{name}.png", clip={"x": 0, "y": 0, "width": WIDTH, "height": height})


def issued_by(page: Page) -> str:
    """The `iss` of the token that the application has."""
    return read_issuer(str(page.evaluate("fetch('/token').then(answer => answer.text())")))


def test_a_user_signs_in_at_one_cluster_and_lands_on_the_page_of_the_other_with_the_padlock(
    clusters: Clusters, has_port: bool
) -> None:
    issuer, url = (of(clusters.cluster(number)) for of, number in ((oidc.issuer_url, 0), (oidc.app_url, 1)))
    assert (issuer.count(":") == 2) == (url.count(":") == 2) == has_port
    with opened(clusters.home, oidc.app_host(clusters.cluster(1))) as page:
        page.goto(f"{url}/")
        assert page.url.startswith(f"{issuer}/") and has_padlock(page)
        photograph(page, "oidc-login", 500)
        page.fill("#username", oidc.USER)
        page.fill("#password", oidc.PASSWORD)
        page.click("#kc-login")
        page.wait_for_selector("h1:has-text('Hello')")
        assert page.url == f"{url}/" and has_padlock(page)
        assert page.inner_text("h1") == f"Hello {oidc.USER} from {clusters.cluster(1).domain}"
        assert issued_by(page) == issuer
        photograph(page, "oidc-app", 110)

        page.goto(f"{oidc.app_url(clusters.cluster(0))}/")
        assert page.inner_text("h1") == f"Hello {oidc.USER} from {clusters.cluster(0).domain}", "without a form again"


def test_a_browser_without_the_root_refuses_the_page(clusters: Clusters, has_port: bool, tmp_path: Path) -> None:
    from playwright.sync_api import Error

    with opened(tmp_path, oidc.app_host(clusters.cluster(1))) as page, pytest.raises(Error, match="CERT_AUTHORITY_INV"):
        page.goto(f"{oidc.app_url(clusters.cluster(1))}/")
