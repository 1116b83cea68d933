"""macOS: dnsmasq from Homebrew, and a file in /etc/resolver for each of our domains (man 5 resolver)."""

from __future__ import annotations

from pathlib import Path

from invoke import Context, Exit, task

from tasks.core import settings as configuration
from tasks.core import system_files
from tasks.core.invoke_patches import PlainTask
from tasks.core.operating_system import is_macos
from tasks.core.settings import Settings
from tasks.core.shell import Shell
from tasks.core.sudo import with_sudo_plan
from tasks.core.templates import render
from tasks.core.well_known import MARKER
from tasks.core.work_files import work_file, write_file
from tasks.tools.required import INSTALL_HINTS


def resolvers() -> Path:
    return system_files.ROOT / "etc/resolver"


@task(klass=PlainTask)
def dnsmasq_brew_install(context: Context) -> None:
    """macOS: install dnsmasq with Homebrew and start it"""
    shell, _ = open_shell(context)
    with_sudo_plan(shell, start)


@task(klass=PlainTask)
def dnsmasq_brew_configure(context: Context) -> None:
    """macOS: make dnsmasq resolve the cluster names"""
    shell, settings = open_shell(context)
    with_sudo_plan(shell, lambda shell: configure(shell, settings))


@task(klass=PlainTask)
def dnsmasq_brew(context: Context) -> None:
    """macOS: install and configure dnsmasq"""
    shell, settings = open_shell(context)
    with_sudo_plan(shell, lambda shell: install(shell, settings))


def unavailable(shell: Shell) -> str:
    if not is_macos(shell):
        return "for macOS: no other system reads /etc/resolver"
    return "" if shell.find("brew") else f"brew is not installed: {INSTALL_HINTS['brew']}"


def open_shell(context: Context) -> tuple[Shell, Settings]:
    settings = configuration.load()
    shell = Shell(context, settings.environment)
    why = unavailable(shell)
    if why:
        raise Exit(f"dnsmasq-brew: {why}.\nFor the way of this machine: inv dns")
    return shell, settings


def install(shell: Shell, settings: Settings) -> None:
    start(shell)
    configure(shell, settings)


def start(shell: Shell) -> None:
    """Install dnsmasq, and start it, where it does not run."""
    with shell.step("", "dnsmasq") as this:
        done = []
        if not shell.look("brew", "list", "--versions", "dnsmasq").ok:
            shell.change("brew", "install", "dnsmasq")
            done.append("installed")
        if not shell.look("pgrep", "-x", "dnsmasq").ok:
            service(shell, "start")
            done.append("started")
        this.outcome = " and ".join(done) or "already installed and running"


def service(shell: Shell, verb: str) -> None:
    # As root, because it listens on port 53: macOS ignores other ports in /etc/resolver (homebrew-core#256659).
    shell.sudo("brew", "services", verb, "dnsmasq", why=f"{verb} dnsmasq on port 53")


def configure(shell: Shell, settings: Settings) -> None:
    """Write dnsmasq's configuration and macOS's, restart what changed, and ask the system's resolver."""
    prefix = brew_prefix(shell)
    if prefix is None:
        raise Exit("brew --prefix said nothing. Is Homebrew whole? Try: brew doctor")
    names, text = names_file(prefix), render("dns/brew.conf", domains=settings.owned_domains)
    system_files.refuse_foreign(names, *(resolvers() / domain for domain in settings.owned_domains))

    with shell.step("", "dnsmasq's configuration") as this:
        # There until dnsmasq has read what is written below, also when that is refused or ended before.
        restart_due = work_file("dnsmasq-restart-due")
        changed = [restart_due.exists()]
        if not shell.dry:
            restart_due.parent.mkdir(exist_ok=True)
            restart_due.touch()
        changed += [include_folder(shell, prefix), remove_what_the_original_wrote(shell, names.parent, settings)]
        if not system_files.holds(names, text):
            write_file(shell, names, system_files.seal(text))
            changed.append(True)
        if any(changed):
            service(shell, "restart")
        if not shell.dry:
            restart_due.unlink()
        this.outcome = "written, and dnsmasq restarted" if any(changed) else "already there"

    with shell.step("", f"resolver for {', '.join(settings.owned_domains)}") as this:
        why, text = f"write to {resolvers()}", render("dns/resolver")
        changed = [system_files.install(shell, resolvers() / domain, text, why) for domain in settings.owned_domains]
        for file in resolver_files():
            if file.name not in settings.owned_domains:  # of another TLD, before
                changed.append(system_files.remove(shell, file, why=f"remove {file} of a former TLD"))
        verify(shell, settings)
        this.outcome = "macOS resolves its names" + ("" if any(changed) else ", nothing to change")


def brew_prefix(shell: Shell) -> Path | None:
    said = shell.look("brew", "--prefix").stdout.strip()
    return Path(said) if said else None


def names_file(prefix: Path) -> Path:
    return prefix / "etc" / "dnsmasq.d" / "dev-cluster-tasks.conf"


def include_lines(prefix: Path) -> tuple[str, str]:
    """What we add to dnsmasq's main file, which is the user's otherwise: a line that says whose the next one is."""
    return MARKER, f"conf-dir={names_file(prefix).parent}/,*.conf"


def include_folder(shell: Shell, prefix: Path) -> bool:
    main, (ours, line) = prefix / "etc" / "dnsmasq.conf", include_lines(prefix)
    text = read(main)
    if line in (written.strip() for written in text.splitlines()):
        return False
    shell.note(f"append {line} to {main}")
    if not shell.dry:
        main.parent.mkdir(parents=True, exist_ok=True)
        with main.open("a", encoding="utf-8") as file:
            file.write(("" if not text or text.endswith("\n") else "\n") + f"{ours}\n{line}\n")
    return True


def remove_what_the_original_wrote(shell: Shell, folder: Path, settings: Settings) -> bool:
    """Remove the original Taskfile's two files where they hold nothing else: they take the whole TLD.

    The resolver's file alone does not tell whose it is: Valet writes the same for `.test`.
    """
    names, resolver = folder / f"{settings.tld}.conf", resolvers() / settings.tld
    if read(names).strip() != f"address=/{settings.tld}/127.0.0.1":
        return False
    if resolver.name not in settings.owned_domains and read(resolver).strip() == "nameserver 127.0.0.1":
        shell.sudo("rm", str(resolver),
                   why=f"remove {resolver} of the original Taskfile, which takes all of .{settings.tld}")
    shell.change("rm", str(names))
    return True


def read(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""


def resolver_files() -> list[Path]:
    files = sorted(resolvers().iterdir()) if resolvers().is_dir() else []
    return system_files.own_files(*filter(Path.is_file, files))


def found(shell: Shell) -> list[Path]:
    prefix = brew_prefix(shell) if is_macos(shell) and shell.find("brew") else None
    return resolver_files() + (system_files.own_files(names_file(prefix)) if prefix else [])


def remove(shell: Shell) -> None:
    """Remove our files and our line. dnsmasq itself stays: whether it was there before, nobody can tell."""
    if not found(shell):
        return
    with shell.step("", "dnsmasq of Homebrew") as this:
        system_files.refuse_foreign(*found(shell))
        why, files = "have macOS resolve names as before", resolver_files()
        for file in files:
            system_files.remove(shell, file, why)
        if resolvers().is_dir() and {*resolvers().iterdir()} <= {*files}:
            shell.sudo("rmdir", str(resolvers()), why=why)
        prefix = brew_prefix(shell)
        if prefix and names_file(prefix).exists():
            # Emptied first and removed last: by it the next run knows that dnsmasq has not been told yet.
            exclude_folder(shell, prefix)
            write_file(shell, names_file(prefix), system_files.seal(""))
            if serves_others(prefix):
                service(shell, "restart")
                this.outcome = "serves the rest as before"
            else:
                service(shell, "stop")
                this.outcome = "stopped, nothing else uses it. To remove it too: brew uninstall dnsmasq"
            shell.change("rm", str(names_file(prefix)))


def exclude_folder(shell: Shell, prefix: Path) -> None:
    main, lines = prefix / "etc" / "dnsmasq.conf", "\n".join(include_lines(prefix)) + "\n"
    text = main.read_bytes() if main.is_file() else b""  # as the user wrote it, in whatever encoding
    if lines.encode() in text:
        shell.note(f"remove {lines.splitlines()[1]} from {main}")
        if not shell.dry:
            main.write_bytes(text.replace(lines.encode(), b""))


def serves_others(prefix: Path) -> bool:
    """Whether dnsmasq's main file or another one in its folder configures anything besides ours."""
    files = [prefix / "etc" / "dnsmasq.conf", *names_file(prefix).parent.glob("*.conf")]
    ours = {names_file(prefix)}
    lines = [line.strip() for file in files if file not in ours for line in read(file).splitlines()]
    return any(line and not line.startswith("#") for line in lines if line != include_lines(prefix)[1])


def verify(shell: Shell, settings: Settings) -> None:
    """Ask as a browser does; dig and nslookup do not read /etc/resolver."""
    name = f"proof.{settings.cluster_domain(0)}"
    question = ("dscacheutil", "-q", "host", "-a", "name", name)
    try:
        shell.until(f"macOS to resolve {name}", 15, lambda: "ip_address: 127.0.0.1" in shell.look(*question).stdout)
    except Exit:
        raise Exit(
            f"macOS does not resolve {name}, though everything is in place. In this order:\n"
            "  1. sudo dscacheutil -flushcache; sudo killall -HUP mDNSResponder\n"
            f"  2. scutil --dns: is there a resolver for {', '.join(settings.owned_domains)}? A VPN may have its own.\n"
            f"  3. dig @127.0.0.1 {name}: does dnsmasq answer 127.0.0.1?\n"
            "  4. Some versions of macOS 26 ignore /etc/resolver for a TLD that is not a public one. Then set in .env\n"
            "     a TLD below a public one, such as TLD=127.0.0.1.nip.io, which needs no resolver here."
        ) from None
