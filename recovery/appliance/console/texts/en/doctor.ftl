## What `groundstate doctor` looks at
code-disk-health-what = What the appliance's own disks say of their health (`groundstate doctor`).
code-disk-health-now = Install smartmontools if it is missing. Replace a disk that fails while it still reads: make a backup first.
code-link-what = Whether each interface of the configuration is there and has a link, VLANs too (`groundstate doctor`).
code-link-now = Plug the cable in, make the VLAN as the hint says, or correct the name under [[interfaces]].
code-depot-reach-what = Whether the depot can be read, and takes and returns an object (`groundstate doctor`).
code-depot-reach-now = Look at the way to the depot, its bucket, and the rights of the access key.
code-directory-what = Whether the site's directory (LDAP) answers by the certificate that is known (`groundstate doctor`).
code-directory-now = Look at the directory, its certificate, and [directory] of the configuration. People on record here sign in meanwhile.
code-provider-what = Whether the site's OpenID provider describes itself and has keys (`groundstate doctor`).
code-provider-now = Look at the provider, and [provider] of the configuration. People on record here sign in meanwhile.
code-agent-fetch-what = Whether the recovery system with its agent, fetched as an endpoint would, is what the boot kit lists (`groundstate doctor`).
code-agent-fetch-now = Restart the appliance so that it serves the kit as it is now; if it stays, somebody else answers at this address.
