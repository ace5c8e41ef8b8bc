"""dnf4's plugin for dkms: it asks /usr/lib/dkms/dkms-rpm, which knows.

What will go wrong is said before a transaction, and what did after it. Policy (policy= in
/etc/dkms/framework.conf) decides whether a transaction is stopped.
"""

import json
import os
import subprocess

import dnf

PROGRAM = "/usr/lib/dkms/dkms-rpm"


class Dkms(dnf.Plugin):
    name = "dkms"

    def __init__(self, base, cli):
        super().__init__(base, cli)
        self._said = []

    def _serves(self):
        # dkms checks this machine's own root only, not a transaction on another one.
        return self.base.conf.installroot == "/" and os.access(PROGRAM, os.X_OK)

    def _look(self):
        transaction = self.base.transaction
        if not self._serves() or not transaction:
            return

        def described(package, direction):
            location = ""
            if direction == "IN":
                try:
                    # Where the file is, or will be after the download.
                    location = package.localPkg()
                except Exception:  # a package without a repository of its own: its name has to do
                    pass
            return {"name": package.name, "version": package.version, "release": package.release, "arch": package.arch,
                    "install_size": package.installsize, "direction": direction, "location": location}

        packages = [described(p, "IN") for p in transaction.install_set]
        packages += [described(p, "OUT") for p in transaction.remove_set]
        question = {"packages": packages, "said": self._said}
        try:
            answer = subprocess.run([PROGRAM, "dnf4", "preflight"], input=json.dumps(question).encode(),
                                    stdout=subprocess.PIPE, check=True)
            answer = json.loads(answer.stdout.decode() or "{}")
        except (OSError, ValueError, subprocess.CalledProcessError):
            # A failing check stops nothing.
            return
        self._said = answer.get("said", [])
        if answer.get("stop"):
            raise dnf.exceptions.Error(answer["stop"])

    def resolved(self):
        self._look()

    def pre_transaction(self):
        # All packages have been downloaded and can be read; nothing has been changed yet.
        self._look()

    def transaction(self):
        if self._serves():
            subprocess.call([PROGRAM, "dnf4", "summary"], stdin=subprocess.DEVNULL)
