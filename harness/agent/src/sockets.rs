//! Sockets that hold fds in flight (`unix(7)`).

use std::mem::{MaybeUninit, size_of};

use crate::sys::sys;

/// Space for one fd as `SCM_RIGHTS` carries it, laid out as `cmsg(3)` says.
#[repr(C)]
struct Rights {
    header: libc::cmsghdr,
    fd: i32,
    padding: i32,
}

/// Length of a message with one fd, without the padding behind it.
const LEN: usize = size_of::<libc::cmsghdr>() + size_of::<i32>();

/// A datagram socket that is connected to itself, or -errno.
pub fn open() -> i64 {
    // SAFETY: no pointers.
    let socket = unsafe { sys!(libc::SYS_socket, libc::AF_UNIX, libc::SOCK_DGRAM, 0) };
    if socket < 0 {
        return socket;
    }
    match connect_to_itself(socket as i32) {
        0 => socket,
        error => {
            // SAFETY: no pointers.
            unsafe { sys!(libc::SYS_close, socket) };
            error
        }
    }
}

fn connect_to_itself(socket: i32) -> i64 {
    let mut name = MaybeUninit::<libc::sockaddr_un>::zeroed();
    // SAFETY: all zeros is a valid value of the type.
    unsafe { name.assume_init_mut() }.sun_family = libc::AF_UNIX as u16;
    let name = name.as_mut_ptr();
    // With its family alone for a name, a socket gets a name that is free.
    let mut len = size_of::<libc::sa_family_t>() as libc::socklen_t;
    // SAFETY: name and length are locals that outlive this call and the ones below.
    let bound = unsafe { sys!(libc::SYS_bind, socket, name, len) };
    if bound < 0 {
        return bound;
    }
    len = size_of::<libc::sockaddr_un>() as libc::socklen_t;
    // SAFETY: as above.
    let named = unsafe { sys!(libc::SYS_getsockname, socket, name, &raw mut len) };
    if named < 0 {
        return named;
    }
    // SAFETY: as above.
    unsafe { sys!(libc::SYS_connect, socket, name, len) }
}

/// Sends an fd: 0 or -errno.
pub fn send(socket: i32, fd: i32) -> i64 {
    let header =
        libc::cmsghdr { cmsg_len: LEN, cmsg_level: libc::SOL_SOCKET, cmsg_type: libc::SCM_RIGHTS };
    let mut rights = Rights { header, fd, padding: 0 };
    let mut byte = 0u8;
    let mut data = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    let message = message(&mut data, &mut rights);
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: everything that the message points to is a local that outlives the call.
    unsafe { sys!(libc::SYS_sendmsg, socket, &raw const message, flags) }.min(0)
}

/// Receives an fd: its number, or -errno. One for which there is no number is lost: `EMFILE`.
pub fn receive(socket: i32) -> i64 {
    let header = libc::cmsghdr { cmsg_len: 0, cmsg_level: 0, cmsg_type: 0 };
    let mut rights = Rights { header, fd: -1, padding: 0 };
    let mut byte = 0u8;
    let mut data = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    let mut message = message(&mut data, &mut rights);
    // SAFETY: as for `send`.
    let ret = unsafe { sys!(libc::SYS_recvmsg, socket, &raw mut message, libc::MSG_DONTWAIT) };
    if ret < 0 {
        ret
    } else if rights.header.cmsg_len == LEN && rights.fd >= 0 {
        rights.fd.into()
    } else {
        -i64::from(libc::EMFILE)
    }
}

fn message(data: &mut libc::iovec, rights: &mut Rights) -> libc::msghdr {
    let mut message = MaybeUninit::<libc::msghdr>::zeroed();
    // SAFETY: all zeros is a valid value of the type: no name, no data, no flags.
    let header = unsafe { message.assume_init_mut() };
    header.msg_iov = data;
    header.msg_iovlen = 1;
    header.msg_control = (&raw mut *rights).cast();
    header.msg_controllen = size_of::<Rights>();
    *header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_fd_goes_through() {
        let socket = open() as i32;
        assert!(socket >= 0, "{socket}");
        assert_eq!(receive(socket), -i64::from(libc::EAGAIN));
        assert_eq!(send(socket, -1), -i64::from(libc::EBADF));
        assert_eq!(send(socket, socket), 0);
        let got = receive(socket);
        assert!(got >= 0 && got != i64::from(socket), "{got}");
        // SAFETY: both fds are this test's own.
        unsafe {
            sys!(libc::SYS_close, got);
            sys!(libc::SYS_close, socket);
        }
        assert_eq!(receive(socket), -i64::from(libc::EBADF));
    }
}
