#!/bin/bash
# Guess: a module's Makefile may have a VERSION with a default (VERSION ?= 1.2.3), which the environment changes.
# Linux 6.12.117 (Debian): the kernel's Makefile exports VERSION, its own: the default does nothing, what the environment says is
# overwritten, and the module is built with 6, exit 0. `VERSION :=` and VERSION= on make's command line do what they say.
# NAME is worse: a default holds, until somebody's environment has a NAME. Then it becomes the code name of the kernel's
# release, which has blanks. So: a module's own variables need a prefix, and a build's environment wants emptying.
. "$(dirname "$0")/lib.sh"
kbuild_root
run_inside <<'CODE'
built() { echo "$1: $code, $(modinfo -F mine /tmp/m/m.ko 2>/dev/null || echo none)"; kbuild m clean; }
module m m '#include <linux/stringify.h>
MODULE_INFO(mine, __stringify(MINE));'
makefile() { printf '%s\n' "$1" "obj-m := m.o" "ccflags-y += -DMINE=\$($2)" >/tmp/m/Makefile; }
makefile 'VERSION ?= 1.2.3' VERSION
kbuild m modules
built default
export VERSION=4.5.6
kbuild m modules
built environment
unset VERSION
kbuild m VERSION=4.5.6 modules
built 'command line'
makefile 'VERSION := 1.2.3' VERSION
kbuild m modules
built 'set'
makefile 'NAME ?= mine' 'firstword $(NAME)'
kbuild m modules
built 'NAME'
export NAME=theirs
kbuild m modules
built 'NAME in the environment'
CODE
same 'VERSION ?=' 'default: 0, 6' "$(line 1)"
same 'with VERSION in the environment' 'environment: 0, 6' "$(line 2)"
same 'with VERSION on the command line' 'command line: 0, 4.5.6' "$(line 3)"
same 'VERSION :=' 'set: 0, 1.2.3' "$(line 4)"
same 'NAME ?=' 'NAME: 0, mine' "$(line 5)"
same 'with NAME in the environment' 'NAME in the environment: 0, Baby' "$(line 6)"
