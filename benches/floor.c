/* The floor: what `run --rm IMAGE true` costs in system calls alone.
 *
 *   floor none|host|bridge ROOTFS WORK CGROUP      prints the milliseconds of one run (after one that is not counted)
 *
 * One small static program without an engine does what an engine must do: an overlay on ROOTFS, a cgroup below the
 * cgroup2 folder CGROUP ("-": none), a process in new mount, pid, ipc, uts, cgroup (and network) namespaces that
 * starts in that cgroup, a veth pair between it and a bridge with address and default route, the usual mounts, devices,
 * masks and read-only paths, pivot_root, capabilities, no_new_privs, a seccomp filter as long as a default profile,
 * execve of /bin/true, its end; then all of it is removed. Two things are left to the kernel, because nobody waits for
 * them: the veth goes with its namespace, and the overlay is volatile, so that its end does not sync the disk.
 *
 * It runs in a network namespace of the benchmark's own, where it makes the bridge once and leaves it.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* musl-gcc does not see the kernel's headers: the few numbers that are wanted, from linux/{netlink,rtnetlink,if_link,filter}.h. */
struct nl_head { uint32_t len; uint16_t type, flags; uint32_t seq, pid; };
struct nl_attr { uint16_t len, type; };
struct link_body { uint8_t family, pad; uint16_t type; int32_t index; uint32_t flags, change; };
struct addr_body { uint8_t family, prefix, flags, scope; uint32_t index; };
struct route_body { uint8_t family, dst, src, tos, table, protocol, scope, type; uint32_t flags; };
struct filter { uint16_t code; uint8_t yes, no; uint32_t value; };
struct program { unsigned short len; struct filter *filter; };
struct clone_arguments {
    uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup;
};
enum { NL_ERROR = 2, NEW_LINK = 16, NEW_ADDR = 20, NEW_ROUTE = 24, REQUEST = 1, ACK = 4, EXCL = 0x200, CREATE = 0x400 };
enum { LINK_NAME = 3, LINK_MASTER = 10, LINK_INFO = 18, LINK_NET_FD = 28, INFO_KIND = 1, INFO_DATA = 2, VETH_PEER = 1 };
#define NEW_CGROUP 0x02000000ull
#define INTO_CGROUP 0x200000000ull

static void die(const char *what) { fprintf(stderr, "floor: %s: %s\n", what, strerror(errno)); exit(1); }
static int must(int result, const char *what) { if (result < 0) die(what); return result; }
static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec * 1e3 + t.tv_nsec / 1e6; }

/* ---- netlink: one message, one acknowledgement ---- */
static char message[1024];
static struct nl_head *const head = (struct nl_head *)message;

static void begin(int type, int flags, const void *body, size_t size) {
    memset(message, 0, sizeof message);
    head->len = sizeof *head + size;
    head->type = type;
    head->flags = REQUEST | ACK | flags;
    memcpy(head + 1, body, size);
}
static struct nl_attr *put(int type, const void *data, size_t size) {
    struct nl_attr *attribute = (void *)(message + head->len);
    attribute->type = type;
    attribute->len = sizeof *attribute + size;
    if (size) memcpy(attribute + 1, data, size);
    head->len += (attribute->len + 3) & ~3u;
    return attribute;
}
static void close_nest(struct nl_attr *nest) { nest->len = message + head->len - (char *)nest; }
static int talk(int socket) {
    char answer[2048];
    if (send(socket, message, head->len, 0) < 0) return -1;
    if (recv(socket, answer, sizeof answer, 0) < (ssize_t)(sizeof *head + 4)) return -1;
    int32_t error;
    memcpy(&error, answer + sizeof *head, sizeof error);
    if (((struct nl_head *)answer)->type != NL_ERROR) { errno = EPROTO; return -1; }
    if (error) errno = -error;
    return error ? -1 : 0;
}
static int netlink(void) { return must(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0), "netlink socket"); }
static void link_up(int socket, unsigned index) {
    struct link_body body = {.index = index, .flags = IFF_UP, .change = IFF_UP};
    begin(NEW_LINK, 0, &body, sizeof body);
    must(talk(socket), "link up");
}
static void address(int socket, unsigned index, const char *text) {
    struct addr_body body = {.family = AF_INET, .prefix = 16, .index = index};
    in_addr_t value = inet_addr(text);
    begin(NEW_ADDR, CREATE | EXCL, &body, sizeof body);
    put(2, &value, 4);
    put(1, &value, 4);
    must(talk(socket), "address");
}
static unsigned ensure_bridge(int socket) {
    unsigned index = if_nametoindex("floor0");
    if (index) return index;
    struct link_body body = {0};
    begin(NEW_LINK, CREATE | EXCL, &body, sizeof body);
    put(LINK_NAME, "floor0", 7);
    struct nl_attr *info = put(LINK_INFO, 0, 0);
    put(INFO_KIND, "bridge", 6);
    close_nest(info);
    must(talk(socket), "bridge");
    index = if_nametoindex("floor0");
    address(socket, index, "10.97.0.1");
    link_up(socket, index);
    return index;
}
static void veth(int socket, unsigned bridge, int namespace) {
    struct link_body body = {.flags = IFF_UP, .change = IFF_UP}, peer_body = {0};
    /* The pair of the run before may still be there: the kernel removes it when it comes to it. */
    char name[16];
    snprintf(name, sizeof name, "fl%llx", (unsigned long long)(now() * 1e3) & 0xfffffffff);
    begin(NEW_LINK, CREATE | EXCL, &body, sizeof body);
    put(LINK_NAME, name, strlen(name) + 1);
    put(LINK_MASTER, &bridge, 4);
    struct nl_attr *info = put(LINK_INFO, 0, 0);
    put(INFO_KIND, "veth", 4);
    struct nl_attr *data = put(INFO_DATA, 0, 0), *peer = put(VETH_PEER, &peer_body, sizeof peer_body);
    put(LINK_NAME, "eth0", 5);
    put(LINK_NET_FD, &namespace, 4);
    close_nest(peer);
    close_nest(data);
    close_nest(info);
    must(talk(socket), "veth");
}
static void inner_network(int bridge) {
    int socket = netlink();
    link_up(socket, 1);
    if (bridge) {
        unsigned index = if_nametoindex("eth0");
        address(socket, index, "10.97.0.2");
        link_up(socket, index);
        struct route_body body = {.family = AF_INET, .table = 254, .protocol = 3, .type = 1};
        in_addr_t gateway = inet_addr("10.97.0.1");
        begin(NEW_ROUTE, CREATE, &body, sizeof body);
        put(5, &gateway, 4);
        must(talk(socket), "route");
    }
    close(socket);
}

/* ---- inside ---- */
#define SAFE (MS_NOSUID | MS_NODEV | MS_NOEXEC)
static void mounts(const char *root, int own_network) {
    static const char *const read_only[] = {"proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger"};
    static const char *const files[] = {"proc/kcore", "proc/keys", "proc/timer_list", "proc/interrupts"};
    static const char *const folders[] = {"proc/acpi", "proc/scsi", "sys/firmware", "sys/devices/virtual/powercap"};
    static const struct { const char *name; int major, minor; } devices[] = {
        {"null", 1, 3}, {"zero", 1, 5}, {"full", 1, 7}, {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0}};
    must(mount(0, "/", 0, MS_REC | MS_SLAVE, 0), "slave");
    must(mount(root, root, 0, MS_BIND | MS_REC, 0), "bind root");
    must(chdir(root), "chdir");
    must(mount("proc", "proc", "proc", SAFE, 0), "proc");
    must(mount("tmpfs", "dev", "tmpfs", MS_NOSUID | MS_STRICTATIME, "mode=755,size=65536k"), "dev");
    mkdir("dev/pts", 0755), mkdir("dev/shm", 01777), mkdir("dev/mqueue", 0755);
    must(mount("devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620"), "devpts");
    must(mount("shm", "dev/shm", "tmpfs", SAFE, "mode=1777,size=65536k"), "shm");
    must(mount("mqueue", "dev/mqueue", "mqueue", SAFE, 0), "mqueue");
    for (unsigned i = 0; i < 6; i++) {
        char path[32];
        snprintf(path, sizeof path, "dev/%s", devices[i].name);
        must(mknod(path, S_IFCHR | 0666, makedev(devices[i].major, devices[i].minor)), path);
    }
    static const char *const links[][2] = {{"pts/ptmx", "dev/ptmx"}, {"/proc/self/fd", "dev/fd"}, {"/proc/self/fd/0", "dev/stdin"},
        {"/proc/self/fd/1", "dev/stdout"}, {"/proc/self/fd/2", "dev/stderr"}};
    for (unsigned i = 0; i < 5; i++) must(symlink(links[i][0], links[i][1]), links[i][1]);
    if (own_network)
        must(mount("sysfs", "sys", "sysfs", MS_RDONLY | SAFE, 0), "sysfs");
    else
        must(mount("/sys", "sys", 0, MS_BIND | MS_REC, 0), "sys");
    mount("cgroup2", "sys/fs/cgroup", "cgroup2", MS_RDONLY | SAFE, 0);
    for (unsigned i = 0; i < 5; i++)
        if (!mount(read_only[i], read_only[i], 0, MS_BIND | MS_REC, 0)) mount(0, read_only[i], 0, MS_BIND | MS_REMOUNT | MS_RDONLY | SAFE, 0);
    for (unsigned i = 0; i < 4; i++) mount("dev/null", files[i], 0, MS_BIND, 0);      /* not every kernel has each */
    for (unsigned i = 0; i < 4; i++) mount("tmpfs", folders[i], "tmpfs", MS_RDONLY, "size=0k");
    must(syscall(SYS_pivot_root, ".", "."), "pivot_root");
    must(umount2(".", MNT_DETACH), "umount the old root");
    must(chdir("/"), "chdir /");
}
static void drop_rights(void) {
    struct { uint32_t version; int pid; } capability_head = {0x20080522, 0};
    struct { uint32_t effective, permitted, inheritable; } sets[2] = {{0xa80425fb, 0xa80425fb, 0}, {0, 0, 0}};
    for (int i = 0; i < 41; i++)
        if (i >= 32 || !(0xa80425fbu >> i & 1)) prctl(PR_CAPBSET_DROP, i, 0, 0, 0);
    must(syscall(SYS_capset, &capability_head, sets), "capset");
    must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs");
    /* Load the call's number, compare it with 299 numbers that nothing calls, allow; so long is a default profile. */
    static struct filter filter[302];
    filter[0] = (struct filter){0x20, 0, 0, 0};
    for (int i = 1; i < 300; i++) filter[i] = (struct filter){0x15, 300 - i, 0, 1000 + i};
    filter[300] = (struct filter){0x06, 0, 0, 0x7fff0000};
    filter[301] = (struct filter){0x06, 0, 0, 0x00050001};
    struct program program = {302, filter};
    must(syscall(SYS_seccomp, 1, 0, &program), "seccomp");
}
static void inside(const char *root, const char *network, int go) {
    char byte;
    mounts(root, strcmp(network, "host"));
    must(sethostname("floor", 5), "hostname");
    if (read(go, &byte, 1) != 1) die("wait for the network");
    if (strcmp(network, "host")) inner_network(!strcmp(network, "bridge"));
    drop_rights();
    char *const argv[] = {"true", 0}, *const envp[] = {"PATH=/bin:/usr/bin", 0};
    execve("/bin/true", argv, envp);
    die("exec /bin/true");
}

/* ---- outside ---- */
static double run(const char *network, const char *rootfs, const char *work, const char *cgroups, int socket) {
    char upper[512], inner[512], root[512], options[2048], group[512];
    unsigned bridge = strcmp(network, "bridge") ? 0 : ensure_bridge(socket);
    snprintf(upper, sizeof upper, "%s/upper", work), snprintf(inner, sizeof inner, "%s/work", work), snprintf(root, sizeof root, "%s/root", work);
    snprintf(options, sizeof options, "lowerdir=%s,upperdir=%s,workdir=%s,volatile", rootfs, upper, inner);
    snprintf(group, sizeof group, "%s/floor.%d", cgroups, getpid());
    int with_cgroup = strcmp(cgroups, "-");

    double start = now();
    must(mkdir(upper, 0755), upper), must(mkdir(inner, 0700), inner), must(mkdir(root, 0755), root);
    must(mount("overlay", root, "overlay", 0, options), "overlay");
    struct clone_arguments arguments = {.flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC | NEW_CGROUP, .exit_signal = SIGCHLD};
    if (strcmp(network, "host")) arguments.flags |= CLONE_NEWNET;
    if (with_cgroup) {
        must(mkdir(group, 0755), group);
        arguments.cgroup = must(open(group, O_DIRECTORY | O_CLOEXEC), group);
        arguments.flags |= INTO_CGROUP;
    }
    int go[2];
    must(pipe2(go, O_CLOEXEC), "pipe");
    pid_t child = must(syscall(SYS_clone3, &arguments, sizeof arguments), "clone3");
    if (!child) inside(root, network, go[0]);
    if (bridge) {
        char path[64];
        snprintf(path, sizeof path, "/proc/%d/ns/net", child);
        int namespace = must(open(path, O_RDONLY | O_CLOEXEC), path);
        veth(socket, bridge, namespace);
        close(namespace);
    }
    if (write(go[1], "", 1) != 1) die("go");
    int status;
    must(waitpid(child, &status, 0), "wait");
    close(go[0]), close(go[1]);
    if (status) { fprintf(stderr, "floor: the process ended with %x\n", status); exit(1); }
    if (with_cgroup) {
        close(arguments.cgroup);
        while (rmdir(group) && errno == EBUSY) usleep(100);
    }
    must(umount2(root, MNT_DETACH), "umount");
    static const char *const left[] = {"work/incompat/volatile/dirty", "work/incompat/volatile", "work/incompat", "work"};
    for (unsigned i = 0; i < 4; i++) {
        char path[600];
        snprintf(path, sizeof path, "%s/%s", inner, left[i]);
        i ? rmdir(path) : unlink(path);
    }
    must(rmdir(root), root), must(rmdir(inner), inner), must(rmdir(upper), upper);
    return now() - start;
}

int main(int argc, char **argv) {
    if (argc != 5) { fprintf(stderr, "usage: floor none|host|bridge ROOTFS WORK CGROUP\n"); return 2; }
    must(unshare(CLONE_NEWNS), "unshare");
    must(mount(0, "/", 0, MS_REC | MS_PRIVATE, 0), "private");
    int socket = netlink();
    run(argv[1], argv[2], argv[3], argv[4], socket);
    printf("%.3f\n", run(argv[1], argv[2], argv[3], argv[4], socket));
    return 0;
}
