//! The iPXE script. Absolute URLs with our literal address only: iPXE keeps settings of earlier DHCP rounds (ipxe#908).
//!
//! Network first, but only IPv4: plain `autoboot` waits 16 to 19 s for IPv6 router discovery. When all tries fail it
//! leaves in the way that makes the firmware go on: a failing status under UEFI (with success some firmware opens its
//! setup), the first disk under BIOS.

use std::net::Ipv4Addr;

use crate::dhcp::loader::url;
use crate::script::RecoverySystem;

/// Rounds of network set-up and download; a switch may hold the port back for 30 to 50 s after each link reset.
const ATTEMPTS: u32 = 20;

pub(crate) fn render(system: &RecoverySystem, server: Ipv4Addr, http_port: u16) -> String {
    let url = |name: &str| url(server, http_port, name);
    let args = system.args_for(server);
    let (kernel, initrd) = (&system.kernel, &system.initrd);
    let split = format!(
        "kernel {} initrd={initrd} {args} || goto again\ninitrd {} || goto again\nboot || goto again\n",
        url(kernel),
        url(initrd),
    );
    let uefi = match &system.unified {
        Some(unified) => format!("kernel {} {args} || goto again\nboot || goto again\n", url(unified)),
        None => split.clone(),
    };
    format!(
        "#!ipxe\n\
         # Boots the Groundstate recovery system.\n\
         set attempt:int32 0\n\
         :start\n\
         isset ${{ip}} || ifconf --configurator dhcp || goto again\n\
         iseq ${{platform}} efi && goto uefi || goto bios\n\
         :uefi\n{uefi}\
         :bios\n{split}\
         :again\n\
         imgfree\n\
         inc attempt\n\
         iseq ${{attempt}} {ATTEMPTS} && goto leave ||\n\
         echo The recovery system could not be loaded from {server}. Trying again.\n\
         sleep 3\n\
         goto start\n\
         :leave\n\
         echo Giving up. Check the boot ticket and the network on the appliance's console.\n\
         sleep 5\n\
         iseq ${{platform}} efi && exit 1 || sanboot --no-describe --drive 0x80 || exit 1\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::sample;

    const US: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);

    #[test]
    fn uefi_gets_the_unified_image_and_bios_kernel_and_initrd() {
        let text = render(&sample(), US, 80);
        let (uefi, bios) = text.split_once(":bios").expect("both");
        let line = "kernel http://10.77.0.1/recovery.efi gs.appliance=10.77.0.1:8443 console=ttyS0 gs.zone={line-1} ||";
        assert!(uefi.contains(line), "{text}");
        assert!(bios.contains("kernel http://10.77.0.1/vmlinuz initrd=initrd.img gs.appliance="), "{text}");
        assert!(bios.contains("initrd http://10.77.0.1/initrd.img ||"), "{text}");
        assert!(text.starts_with("#!ipxe\n"));
    }

    #[test]
    fn g6_the_kernel_line_names_its_initrd_also_under_uefi() {
        let system = RecoverySystem { unified: None, ..sample() };
        assert_eq!(render(&system, US, 80).matches(" initrd=initrd.img ").count(), 2);
    }

    #[test]
    fn c11_only_the_dhcp_configurator_is_awaited() {
        let text = render(&sample(), US, 80);
        assert!(text.contains("ifconf --configurator dhcp") && !text.contains("autoboot"));
    }

    #[test]
    fn g5_it_leaves_with_a_failing_status_under_uefi_and_to_the_disk_under_bios() {
        let text = render(&sample(), US, 80);
        let last = text.lines().last().expect("lines");
        assert_eq!(last, "iseq ${platform} efi && exit 1 || sanboot --no-describe --drive 0x80 || exit 1");
    }

    #[test]
    fn b14_b15_no_url_comes_from_a_setting() {
        let text = render(&sample(), US, 8080);
        for setting in ["${filename}", "${next-server}", "${net"] {
            assert!(!text.contains(setting));
        }
        assert!(text.contains("http://10.77.0.1:8080/vmlinuz"));
    }
}
