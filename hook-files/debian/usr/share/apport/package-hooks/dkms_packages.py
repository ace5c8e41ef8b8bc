"""Files a problem report when a module package does not build (apport's package hooks).

Called by dkms as: dkms_packages.py -m NAME -v VERSION [-k KERNEL]
"""

import argparse
import os
import re
import subprocess
import sys

import apport
from apport.hookutils import attach_file_if_exists

TREE = "/var/lib/dkms"


def owner_of(path):
    """The package that owns a file, or None."""
    done = subprocess.run(["dpkg-query", "--search", path], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return None
    return done.stdout.split(":")[0].split(",")[0].strip()


def first_error(text):
    """The first compiler error of a log: what makes two reports the same."""
    for line in text.splitlines():
        if re.search(r"(?:^|\s)error:", line):
            return line.strip()
    return None


def main():
    """Makes the report."""
    parser = argparse.ArgumentParser()
    parser.add_argument("-m", "--module", required=True)
    parser.add_argument("-v", "--version", required=True)
    parser.add_argument("-k", "--kernel", default=os.uname().release)
    words, _ = parser.parse_known_args()

    package = owner_of(f"/usr/src/{words.module}-{words.version}")
    if package is None:
        print(f"dkms_packages.py: no package owns /usr/src/{words.module}-{words.version}", file=sys.stderr)
        return 1
    report = apport.Report("Package")
    report["Package"] = package
    try:
        version = apport.packaging.get_version(package)
        report["SourcePackage"] = apport.packaging.get_source(package)
    except ValueError:
        version = words.version
    report["PackageVersion"] = version
    report["Title"] = f"{package} {version}: {words.module} kernel module failed to build"
    report["DKMSKernelVersion"] = words.kernel
    log = f"{TREE}/{words.module}/{words.version}/build/make.log"
    attach_file_if_exists(report, log, "DKMSBuildLog")
    error = first_error(report.get("DKMSBuildLog", ""))
    if error:
        report["DuplicateSignature"] = f"dkms:{package}:{version}:{error}"
    name = f"{package}.0.crash"
    with apport.fileutils.make_report_file(report, uid=0) if os.geteuid() == 0 else open(name, "xb") as out:
        report.write(out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
