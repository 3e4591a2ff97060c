//! The GRUB configuration for the Secure Boot chain. Debian's signed GRUB has no `http` module and cannot load one, so
//! kernel and initrd come over TFTP; the address is written out, since after HTTP Boot GRUB may believe in another root.

use std::net::Ipv4Addr;

use crate::script::RecoverySystem;

const ATTEMPTS: [u32; 5] = [1, 2, 3, 4, 5];

pub(crate) fn render(system: &RecoverySystem, server: Ipv4Addr) -> String {
    // Braces open blocks in GRUB's language; quoted they are letters. The alphabet of the arguments has no quote.
    let args: Vec<String> = system.args_for(server).iter().map(|arg| format!("'{arg}'")).collect();
    let attempts = ATTEMPTS.map(|n| n.to_string()).join(" ");
    format!(
        "# Boots the Groundstate recovery system.\n\
         set timeout=0\n\
         set pager=0\n\
         for attempt in {attempts}; do\n\
         \x20 echo \"Loading the recovery system from {server} ...\"\n\
         \x20 if linux (tftp,{server})/{kernel} {args}; then\n\
         \x20   if initrd (tftp,{server})/{initrd}; then\n\
         \x20     boot\n\
         \x20   fi\n\
         \x20 fi\n\
         \x20 echo \"That did not work (attempt $attempt).\"\n\
         \x20 sleep 3\n\
         done\n\
         echo \"Giving up. Check the boot ticket and the network on the appliance's console.\"\n\
         sleep 5\n\
         exit 1\n",
        kernel = system.kernel,
        initrd = system.initrd,
        args = args.join(" "),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::sample;

    #[test]
    fn f9_f10_f13_kernel_and_initrd_come_by_tftp_from_our_literal_address() {
        let text = render(&sample(), Ipv4Addr::new(10, 77, 0, 1));
        assert!(
            text.contains("linux (tftp,10.77.0.1)/vmlinuz 'gs.appliance=10.77.0.1:8443' 'console=ttyS0'"),
            "{text}"
        );
        assert!(text.contains("initrd (tftp,10.77.0.1)/initrd.img"));
        assert!(!text.contains("http"));
    }

    #[test]
    fn f12_braces_are_quoted_for_grub_only() {
        let us = Ipv4Addr::new(10, 77, 0, 1);
        assert!(render(&sample(), us).contains("'gs.zone={line-1}'"));
        assert!(crate::script::ipxe::render(&sample(), us, 80).contains(" gs.zone={line-1} "));
    }

    #[test]
    fn h1_it_leaves_with_a_failing_status() {
        assert!(render(&sample(), Ipv4Addr::LOCALHOST).ends_with("exit 1\n"));
    }
}
