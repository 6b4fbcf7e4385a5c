import os
import subprocess

from services.kit import ssh
from walt.contracts.bootserver import NodeAccess

ACCESS = NodeAccess("192.168.172.2", "root", "KEY\n", "ssh-ed25519 AAAA")


def test_nothing_of_the_command_is_taken_for_an_option(tmp_path):
    argv = ssh.argv(tmp_path, ACCESS, ["-o", "ProxyCommand=x"])
    assert argv[-4:] == ["192.168.172.2", "--", "-o", "ProxyCommand=x"]
    assert "-T" in argv and "-tt" not in argv and "-E" not in argv
    shell = ssh.argv(tmp_path, ACCESS, terminal=True)
    assert shell[-4:] == ["-tt", "-l", "root", "192.168.172.2"]


def test_credentials_are_for_nobody_else(tmp_path):
    ssh.write_credentials(tmp_path, ACCESS)
    assert (tmp_path / "key").read_text() == "KEY\n"
    assert (tmp_path / "known_hosts").read_text() == "node ssh-ed25519 AAAA\n"
    assert {os.stat(path).st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_ssh_understands_every_option_and_no_configuration_of_this_host_applies(tmp_path):
    log_file = tmp_path / "messages"
    name, *argv = ssh.argv(tmp_path, ACCESS, ["true"], terminal=True, log_file=log_file)
    (tmp_path / "key").touch()
    done = subprocess.run([name, "-G", *argv], capture_output=True, text=True, check=True)
    effective = dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)
    assert (
        effective.items()
        >= {
            "hostname": "192.168.172.2",
            "user": "root",
            "requesttty": "force",
            "identityfile": str(tmp_path / "key"),
            "identitiesonly": "yes",
            "identityagent": "none",
            "userknownhostsfile": str(tmp_path / "known_hosts"),
            "globalknownhostsfile": "/dev/null",
            "stricthostkeychecking": "true",
            "hostkeyalias": ssh.HOST_ALIAS,
            "batchmode": "yes",
            "escapechar": "none",
            "connecttimeout": str(ssh.CONNECT_TIMEOUT_S),
            "serveraliveinterval": "15",
            "serveralivecountmax": "4",
            "loglevel": "ERROR",
        }.items()
    )
    assert argv[:2] == ["-F", "/dev/null"] and argv[argv.index("-E") + 1] == str(log_file)
