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

    def _serves(self):
        # dkms looks at this machine's own root: another one's transaction is none of its business.
        return self.base.conf.installroot == "/" and os.access(PROGRAM, os.X_OK)

    def resolved(self):
        transaction = self.base.transaction
        if not self._serves() or not transaction:
            return

        def described(packages, direction):
            return [{"name": p.name, "version": p.version, "release": p.release, "arch": p.arch,
                     "install_size": p.installsize, "direction": direction} for p in packages]

        question = {"packages": described(transaction.install_set, "IN") + described(transaction.remove_set, "OUT")}
        try:
            answer = subprocess.run([PROGRAM, "dnf4", "preflight"], input=json.dumps(question).encode(),
                                    stdout=subprocess.PIPE, check=True)
            answer = json.loads(answer.stdout.decode() or "{}")
        except (OSError, ValueError, subprocess.CalledProcessError):
            # A preflight that can't be made stops nothing.
            return
        if answer.get("stop"):
            raise dnf.exceptions.Error(answer["stop"])

    def transaction(self):
        if self._serves():
            subprocess.call([PROGRAM, "dnf4", "summary"], stdin=subprocess.DEVNULL)
