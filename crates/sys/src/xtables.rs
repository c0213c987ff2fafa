//! The tables of the older iptables, which only its own socket options show.
//!
//! Source of the layouts: the kernel's `linux/netfilter_ipv4/ip_tables.h`, `linux/netfilter_ipv6/ip6_tables.h`.

#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, OwnedFd};

use rustix::io::{Errno, Result};
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto};

/// `IPT_SO_GET_INFO` and `IP6T_SO_GET_INFO`.
const GET_INFO: libc::c_int = 64;
/// `IPT_SO_GET_ENTRIES` and `IP6T_SO_GET_ENTRIES`.
const GET_ENTRIES: libc::c_int = 65;
/// `XT_TABLE_MAXNAMELEN`.
const NAME: usize = 32;
/// The name, the size, and the padding before the entries in `struct ipt_get_entries`.
const ENTRIES_HEADER: usize = NAME + 8;

/// Where the chains of a table lie among its entries.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Info {
    name: [u8; NAME],
    /// The hooks that have a chain, one bit each.
    pub valid_hooks: u32,
    /// Where the chain of each hook begins, in bytes.
    pub hook_entry: [u32; 5],
    /// Where the policy of the chain of each hook is, in bytes.
    pub underflow: [u32; 5],
    /// How many entries there are.
    pub num_entries: u32,
    /// How many bytes they take.
    pub size: u32,
}

/// A socket by which the tables of IPv4 or IPv6 are read.
#[derive(Debug)]
pub struct Tables {
    socket: OwnedFd,
    level: libc::c_int,
}

impl Tables {
    /// Opens a socket in the thread's network namespace; needs `CAP_NET_RAW`, reading needs `CAP_NET_ADMIN`.
    pub fn open(ipv6: bool) -> Result<Self> {
        let family = if ipv6 { AddressFamily::INET6 } else { AddressFamily::INET };
        let socket =
            rustix::net::socket_with(family, SocketType::RAW, SocketFlags::CLOEXEC, Some(ipproto::RAW))?;
        Ok(Self { socket, level: if ipv6 { libc::IPPROTO_IPV6 } else { libc::IPPROTO_IP } })
    }

    /// Returns where the chains of `table` lie. The kernel makes the table when it is missing.
    pub fn info(&self, table: &str) -> Result<Info> {
        let mut bytes = [0; size_of::<Info>()];
        put_name(&mut bytes, table)?;
        self.get(GET_INFO, &mut bytes)?;
        // SAFETY: `Info` is `repr(C)`, has no padding and no invalid value, and `bytes` is as long.
        Ok(unsafe { bytes.as_ptr().cast::<Info>().read_unaligned() })
    }

    /// Returns the entries of `table`, whose `info` was read before; `EAGAIN` when it has changed since.
    pub fn entries(&self, table: &str, info: &Info) -> Result<Vec<u8>> {
        let mut bytes = vec![0; ENTRIES_HEADER + info.size as usize];
        put_name(&mut bytes, table)?;
        bytes[NAME..NAME + 4].copy_from_slice(&info.size.to_ne_bytes());
        self.get(GET_ENTRIES, &mut bytes)?;
        Ok(bytes.split_off(ENTRIES_HEADER))
    }

    fn get(&self, option: libc::c_int, bytes: &mut [u8]) -> Result<()> {
        let mut length = libc::socklen_t::try_from(bytes.len()).map_err(|_| Errno::MSGSIZE)?;
        // SAFETY: `bytes` is writable for `length` bytes and outlives the call; `length` is our own variable.
        let answer = unsafe {
            libc::getsockopt(
                self.socket.as_raw_fd(),
                self.level,
                option,
                bytes.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        if answer == 0 {
            return Ok(());
        }
        Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL))
    }
}

fn put_name(bytes: &mut [u8], table: &str) -> Result<()> {
    if table.len() >= NAME {
        return Err(Errno::NAMETOOLONG);
    }
    bytes[..table.len()].copy_from_slice(table.as_bytes());
    Ok(())
}
