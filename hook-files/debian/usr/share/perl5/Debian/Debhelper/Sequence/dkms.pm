#!/usr/bin/perl
# The dh sequence "dkms": dh --with dkms, or Build-Depends: dh-sequence-dkms.
use strict;
use warnings;

# Before the init scripts: a service may need the module.
insert_before('dh_installinit', 'dh_dkms');

1;
