"""macOS: dnsmasq from Homebrew, and a file in /etc/resolver for each cluster domain (man 5 resolver)."""

from __future__ import annotations

from pathlib import Path

from invoke import Context, Exit, task

from tasks.core import configuration, system_files
from tasks.core.invoke_patches import PlainTask
from tasks.core.operating_system import is_macos
from tasks.core.settings import Settings
from tasks.core.shell import Shell
from tasks.core.sudo import with_sudo_plan
from tasks.core.templates import render
from tasks.core.well_known import MANAGER, MARKER
from tasks.core.work_files import work_file, write_file
from tasks.dns import domain_files
from tasks.dns.domain_files import DomainFile, Leaving, text_for_this_copy, text_of_names, text_of_unknown_names
from tasks.tools.required import INSTALL_HINTS


def resolvers() -> Path:
    return system_files.ROOT / "etc/resolver"


@task(klass=PlainTask)
def dnsmasq_brew_install(context: Context) -> None:
    """macOS: install dnsmasq with Homebrew and start it"""
    shell, _ = open_shell(context)
    with domain_files.one_copy_at_a_time(shell):
        with_sudo_plan(shell, start)


@task(klass=PlainTask)
def dnsmasq_brew_configure(context: Context) -> None:
    """macOS: make dnsmasq resolve the cluster names"""
    shell, settings = open_shell(context)
    with domain_files.one_copy_at_a_time(shell):
        with_sudo_plan(shell, lambda shell: configure(shell, settings))


@task(klass=PlainTask)
def dnsmasq_brew(context: Context) -> None:
    """macOS: install and configure dnsmasq"""
    shell, settings = open_shell(context)
    with domain_files.one_copy_at_a_time(shell):
        with_sudo_plan(shell, lambda shell: install(shell, settings))


def check_available(shell: Shell) -> str:
    if not is_macos(shell):
        return "only on macOS, because no other system reads /etc/resolver"
    return "" if shell.find("brew") else f"brew is not installed: {INSTALL_HINTS['brew']}"


def open_shell(context: Context) -> tuple[Shell, Settings]:
    settings = configuration.load()
    shell = Shell(context, settings.environment)
    reason = check_available(shell)
    if reason:
        raise Exit(f"dnsmasq-brew: {reason}.\nFor a method that works on this machine: inv dns")
    return shell, settings


def install(shell: Shell, settings: Settings) -> None:
    start(shell)
    configure(shell, settings)


def start(shell: Shell) -> None:
    """Install dnsmasq if it is missing, and start it if it is not running."""
    with shell.step("", "dnsmasq") as this:
        done = []
        if not shell.look("brew", "list", "--versions", "dnsmasq").ok:
            shell.change("brew", "install", "dnsmasq")
            done.append("installed")
        if not shell.look("pgrep", "-x", "dnsmasq").ok:
            control_service(shell, "start")
            done.append("started")
        this.outcome = " and ".join(done) or "already installed and running"


def control_service(shell: Shell, verb: str) -> None:
    # As root, because it listens on port 53: macOS ignores other ports in /etc/resolver (homebrew-core#256659).
    shell.sudo("brew", "services", verb, "dnsmasq", why=f"{verb} dnsmasq on port 53")


def configure(shell: Shell, settings: Settings) -> None:
    """Write the configuration of dnsmasq and of macOS, restart what changed, and query the system's resolver."""
    prefix = find_brew_prefix(shell)
    if prefix is None:
        raise Exit("brew --prefix printed nothing. To check the Homebrew installation: brew doctor")
    shared, own = shared_file(prefix), {domain: names_file(prefix, domain) for domain in settings.owned_domains}
    served, earlier = find_names(prefix), domain_files.of_earlier_version(shared)
    former_names, former_resolvers = (domain_files.former_domains(settings, files)
                                      for files in (served, find_resolver_files()))
    texts = {file: text_of_names(settings, domain, file) for domain, file in own.items()}
    texts |= {names_file(prefix, domain): text_of_unknown_names(domain)
              for domain in domain_files.domains_to_take_over(settings, earlier, served)}
    texts[shared] = render("dns/brew.conf")
    system_files.refuse_foreign(*texts, *(resolvers() / domain for domain in settings.owned_domains),
                                *former_names.changed, *former_resolvers.changed)

    with shell.step("", "dnsmasq's configuration") as this:
        # This file exists until dnsmasq has read the changes below, even if the run is interrupted before.
        restart_due = work_file("dnsmasq-restart-due")
        changed = [restart_due.exists()]
        if not shell.dry:
            restart_due.parent.mkdir(exist_ok=True)
            restart_due.touch()
        changed += [include_folder(shell, prefix), remove_files_of_original(shell, shared.parent, settings)]
        changed += [write_names(shell, file, text) for file, text in texts.items()]
        for names in former_names.removed:
            shell.change("rm", str(names.path))
            changed.append(True)
        for names in former_names.released:
            write_names(shell, names.path, domain_files.text_without_this_copy(names.path))
        if any(changed):
            control_service(shell, "restart")
        if not shell.dry:
            restart_due.unlink()
        this.outcome = "written, and dnsmasq restarted" if any(changed) else "already there"

    with shell.step("", f"resolver for {', '.join(settings.owned_domains)}") as this:
        changed = [domain_files.install_all(shell, {
            resolvers() / domain: text_for_this_copy("dns/resolver", domain, resolvers() / domain)
            for domain in settings.owned_domains}, why=f"write to {resolvers()}")]
        changed += [system_files.remove(shell, file.path, why=f"remove {file.path}, which this copy no longer uses")
                    for file in former_resolvers.removed]
        release(shell, former_resolvers.released)
        verify(shell, settings)
        this.outcome = "macOS resolves its names" + ("" if any(changed) else ", nothing to change")


def write_names(shell: Shell, file: Path, text: str) -> bool:
    """Write to Homebrew's folder, which belongs to the user. False if the file already has this text."""
    if system_files.holds(file, text):
        return False
    write_file(shell, file, system_files.seal(text))
    return True


def release(shell: Shell, files: list[DomainFile]) -> None:
    for file in files:
        system_files.install(shell, file.path, domain_files.text_without_this_copy(file.path),
                             why="remove this copy from its users")


def find_brew_prefix(shell: Shell) -> Path | None:
    output = shell.look("brew", "--prefix").stdout.strip()
    return Path(output) if output else None


def shared_file(prefix: Path) -> Path:
    """What all domains share."""
    return prefix / "etc" / "dnsmasq.d" / f"{MANAGER}.conf"


def names_file(prefix: Path, domain: str) -> Path:
    return shared_file(prefix).with_name(f"{MANAGER}-{domain}.conf")


def find_names(prefix: Path | None) -> list[DomainFile]:
    return domain_files.find(shared_file(prefix).parent, ".conf") if prefix else []


def include_lines(prefix: Path) -> tuple[str, str]:
    """What is added to dnsmasq's main file, which belongs to the user: a marker line, and the line it marks."""
    return MARKER, f"conf-dir={shared_file(prefix).parent}/,*.conf"


def include_folder(shell: Shell, prefix: Path) -> bool:
    main, (marker, line) = prefix / "etc" / "dnsmasq.conf", include_lines(prefix)
    text = read(main)
    if line in (existing.strip() for existing in text.splitlines()):
        return False
    shell.note(f"append {line} to {main}")
    if not shell.dry:
        main.parent.mkdir(parents=True, exist_ok=True)
        with main.open("a", encoding="utf-8") as file:
            file.write(("" if not text or text.endswith("\n") else "\n") + f"{marker}\n{line}\n")
    return True


def remove_files_of_original(shell: Shell, folder: Path, settings: Settings) -> bool:
    """Remove the two files of the original Taskfile if they contain nothing else. They cover the whole TLD.

    The file of the resolver alone does not show who created it: Valet writes the same one for `.test`.
    """
    names, resolver = folder / f"{settings.tld}.conf", resolvers() / settings.tld
    if read(names).strip() != f"address=/{settings.tld}/127.0.0.1":
        return False
    if resolver.name not in settings.owned_domains and read(resolver).strip() == "nameserver 127.0.0.1":
        shell.sudo("rm", str(resolver),
                   why=f"remove {resolver} of the original Taskfile, which covers all of .{settings.tld}")
    shell.change("rm", str(names))
    return True


def read(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""


def find_resolver_files() -> list[DomainFile]:
    return domain_files.find(resolvers(), "", prefix="")


def find_used_prefix(shell: Shell) -> Path | None:
    return find_brew_prefix(shell) if is_macos(shell) and shell.find("brew") else None


def list_domain_files(shell: Shell) -> list[DomainFile]:
    prefix = find_used_prefix(shell)
    earlier = domain_files.of_earlier_version(shared_file(prefix)) if prefix else []
    return [*find_resolver_files(), *find_names(prefix), *earlier]


def list_files(shell: Shell) -> list[Path]:
    prefix = find_used_prefix(shell)
    shared = system_files.own_files(shared_file(prefix)) if prefix else []
    return list(dict.fromkeys([*(file.path for file in list_domain_files(shell)), *shared]))


def remove(shell: Shell, leaving: Leaving) -> None:
    """Remove our files and our line. dnsmasq itself is kept, because it may have been installed before."""
    files, every_file = leaving.sort(list_domain_files(shell)), list_files(shell)
    if not files.changed and not (files.is_last and every_file):
        return
    with shell.step("", "dnsmasq from Homebrew") as this:
        system_files.refuse_foreign(*(every_file if files.is_last else files.changed))
        why, prefix = "make macOS resolve names as before", find_used_prefix(shell)
        release(shell, [file for file in files.released if file.path.parent == resolvers()])
        routes = [file.path for file in files.removed if file.path.parent == resolvers()]
        for file in routes:
            system_files.remove(shell, file, why)
        domain_files.remove_folder_if_empty(shell, resolvers(), routes, why)
        this.outcome = domain_files.describe_outcome(files)
        if prefix:
            for names in files.released:
                if names.path.parent != resolvers():
                    write_names(shell, names.path, domain_files.text_without_this_copy(names.path))
            served = [file.path for file in files.removed if file.path.parent != resolvers()]
            if files.is_last and shared_file(prefix).exists():
                this.outcome = remove_everything(shell, prefix, served)
            elif served:
                remove_names(shell, prefix, served)


def remove_everything(shell: Shell, prefix: Path, served: list[Path]) -> str:
    """Empty the file that all domains share first, and remove it last.

    As long as it exists, the next run knows that dnsmasq still has to be restarted or stopped.
    """
    exclude_folder(shell, prefix)
    for file in served:
        if file != shared_file(prefix):
            shell.change("rm", str(file))
    write_file(shell, shared_file(prefix), system_files.seal(""))
    others = serves_other_names(prefix)
    control_service(shell, "restart" if others else "stop")
    shell.change("rm", str(shared_file(prefix)))
    return ("still running, for other names" if others
            else "stopped, because nothing else uses it. To remove it too: brew uninstall dnsmasq")


def remove_names(shell: Shell, prefix: Path, served: list[Path]) -> None:
    """While other copies need dnsmasq: empty the files, restart it, then remove them. A second run can resume."""
    for file in served:
        text = render("dns/brew.conf") if file == shared_file(prefix) else domain_files.text_without_effect(file)
        write_names(shell, file, text)
    control_service(shell, "restart")
    for file in served:
        if file != shared_file(prefix):
            shell.change("rm", str(file))


def exclude_folder(shell: Shell, prefix: Path) -> None:
    main, lines = prefix / "etc" / "dnsmasq.conf", "\n".join(include_lines(prefix)) + "\n"
    text = main.read_bytes() if main.is_file() else b""  # in any encoding, because the user wrote it
    if lines.encode() in text:
        shell.note(f"remove {lines.splitlines()[1]} from {main}")
        if not shell.dry:
            main.write_bytes(text.replace(lines.encode(), b""))


def serves_other_names(prefix: Path) -> bool:
    """Whether dnsmasq's main file or another one in its folder configures anything else."""
    folder = shared_file(prefix).parent
    ours = {shared_file(prefix), *(file.path for file in find_names(prefix))}
    files = [prefix / "etc" / "dnsmasq.conf", *folder.glob("*.conf")]
    lines = [line.strip() for file in files if file not in ours for line in read(file).splitlines()]
    return any(line and not line.startswith("#") for line in lines if line != include_lines(prefix)[1])


def verify(shell: Shell, settings: Settings) -> None:
    """Query as a browser does. dig and nslookup do not read /etc/resolver."""
    cluster = settings.cluster(0)
    name, address = f"proof.{cluster.domain}", cluster.address
    question = ("dscacheutil", "-q", "host", "-a", "name", name)
    try:
        shell.until(f"macOS to resolve {name}", 15, lambda: f"ip_address: {address}" in shell.look(*question).stdout)
    except Exit:
        raise Exit(
            f"macOS does not resolve {name}, although everything is configured. Check in this order:\n"
            "  1. sudo dscacheutil -flushcache; sudo killall -HUP mDNSResponder\n"
            f"  2. scutil --dns: is there a resolver for {', '.join(settings.owned_domains)}? A VPN may have its own.\n"
            f"  3. dig @127.0.0.1 {name}: does dnsmasq answer {address}?\n"
            "  4. Some versions of macOS 26 ignore /etc/resolver for a TLD that is not a public one. Without\n"
            "     DNS_METHOD in .env, inv dns then writes the names to /etc/hosts."
        ) from None
