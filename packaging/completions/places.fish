# Packages and kernels, read from their directories; dkms itself is never called.

function __dkms_kernels
    for dir in /lib/modules/*/
        path basename $dir
    end
end

function __dkms_packages
    for link in /var/lib/dkms/*/*/source
        string replace -r '^/var/lib/dkms/(.*)/source$' '$1' -- $link
    end
    for file in /usr/src/*-*/dkms.conf
        string replace -r '^/usr/src/(.*)-([^-]*)/dkms.conf$' '$1/$2' -- $file
    end
end

complete -c dkms -s k -l kernelver -x -a '(__dkms_kernels)'
complete -c dkms -l templatekernel -x -a '(__dkms_kernels)'
complete -c dkms -s m -l module -x -a '(__dkms_packages)'
complete -c dkms -n '__fish_seen_subcommand_from add build install uninstall unbuild remove status match mktarball mkpkg mkdeb mkrpm mkdriverdisk sign why logs hold unhold' -a '(__dkms_packages)'
complete -c dkms -n '__fish_seen_subcommand_from mok' -f -a 'status enroll'
complete -c dkms -n '__fish_seen_subcommand_from share' -f -a 'push pull list plan build prune verify keygen'
