# Runs a program in a root of its own: the host's tools read-only, devices without effect, an empty /tmp, and the folders
# that are shared with it. No other file, process, network, key or terminal of the host is in there.
#
#   perl -e CONFINE PARENT FIRST [ro|rw FROM AT]... -- PROGRAM [ARGUMENT]...
#
# PARENT is the process that started this one. FIRST is the host's id that becomes root, followed by the 65535 others;
# `same` maps all ids to themselves, for a caller that is in a user namespace already. AT is a path below /.
#
# Three processes, each killed with the one before it:
# 1. lays the root out with the caller's rights, which the shared folders may need;
# 2. enters a user namespace with a copy of these mounts. They come from a namespace with more rights, so nobody inside can
#    make one writable, or take one away from what it covers: mount_namespaces(7);
# 3. is the first of its process namespace, leaves the host's root behind, and becomes the program.
use strict;
use warnings;
use POSIX ();

# Numbers of system calls, by `uname -m`; below those that are the same everywhere. mount_setattr came last: Linux 5.12.
my @named = qw(mount umount2 pivot_root unshare prctl keyctl sethostname setgroups);
my %kernels = (x86_64 => [165, 166, 155, 272, 157, 250, 170, 116], aarch64 => [40, 39, 41, 97, 167, 219, 161, 159]);
my $numbers = $kernels{(POSIX::uname())[4]} or die "the sandbox knows no system calls of this architecture\n";
my %calls = (open_tree => 428, move_mount => 429, mount_setattr => 442);
@calls{@named} = @$numbers;

# linux/mount.h and linux/fcntl.h
my ($ms_nosuid, $ms_nodev, $ms_noexec, $ms_bind, $ms_rec, $ms_private) = (2, 4, 8, 0x1000, 0x4000, 0x40000);
my ($readonly, $nosuid, $nodev, $noexec) = (1, 2, 4, 8);
my ($at_fdcwd, $at_empty_path, $at_recursive, $clone, $cloexec, $from_empty_path, $detach) = (-100, 0x1000, 0x8000, 1, 0x80000, 4, 2);
# linux/sched.h: mounts; then also host name, IPC, users, processes, network.
my $mounts = 0x20000;
my $all = $mounts | 0x4000000 | 0x8000000 | 0x10000000 | 0x20000000 | 0x40000000;
# linux/prctl.h, linux/keyctl.h
my ($set_death_signal, $drop_capability, $no_new_privileges, $join_session) = (1, 24, 38, 1);
my $kill = 9;
my $ids = 65536;
# Capabilities that mmdebstrap and maintainer scripts need: CHOWN to SETPCAP, SYS_CHROOT, SYS_ADMIN (for mounts), MKNOD,
# SETFCAP. Without SYS_RESOURCE the limits on namespaces below stay.
my %kept = map { $_ => 1 } 0 .. 8, 18, 21, 27, 31;
# Any folder will do to lay the root out in. This one is everywhere; what is needed of it is at hand before it is covered.
my $site = '/usr';
# Not all of /usr: /usr/local, /usr/src and the like are people's own.
my @usr = map { "usr/$_" } qw(bin sbin lib lib32 lib64 libx32 libexec share);
my @tools = (qw(bin sbin lib lib32 lib64 libx32), @usr, qw(etc/alternatives etc/ld.so.cache));
my @devices = qw(null zero full random urandom tty);

# Texts are copied: perl hands only what could be changed to the kernel.
sub try {
    my ($name, @arguments) = @_;
    return syscall $calls{$name}, @arguments;
}

sub call {
    my ($name, @arguments) = @_;
    my $result = try($name, @arguments);
    die "$name: $!\n" if $result < 0;
    return $result;
}

# A process's wish to be killed with its parent is lost when it changes its user.
sub end_with_parent { call 'prctl', $set_death_signal, $kill, 0, 0, 0 }

sub write_file {
    my ($path, $text) = @_;
    open my $file, '>', $path or die "create $path: $!\n";
    defined syswrite $file, $text or die "write $path: $!\n";
    close $file or die "write $path: $!\n";
}

sub wait_for {
    my ($child) = @_;
    waitpid $child, 0;
    POSIX::_exit($? & 127 ? 128 + ($? & 127) : $? >> 8);
}

# A copy of what lies at a path with all mounts below it, restricted.
sub take {
    my ($path, $attributes) = @_;
    my $tree = try('open_tree', $at_fdcwd, $path, $clone | $cloexec | $at_recursive);
    die "take $path into the sandbox (Linux 5.12 or later): $!\n" if $tree < 0;
    restrict($tree, $at_recursive, $attributes);
    return $tree;
}

sub restrict {
    my ($tree, $flags, $attributes) = @_;
    my $wanted = pack 'Q4', $attributes, 0, 0, 0;
    try('mount_setattr', $tree, '', $at_empty_path | $flags, $wanted, length $wanted) < 0
        and die "restrict a mount of the sandbox (Linux 5.12 or later): $!\n";
}

# The path itself, too, as a folder or as an empty file, in the root that is being laid out.
sub make {
    my ($path, $is_folder) = @_;
    my ($above) = $path =~ m,(.*)/,;
    make($above, 1) if defined $above && !-d $above;
    return if -e $path;
    return write_file($path, '') unless $is_folder;
    mkdir $path, 0755 or die "create $path: $!\n";
}

sub put {
    my ($tree, $is_folder, $path) = @_;
    make($path, $is_folder);
    call 'move_mount', $tree, '', $at_fdcwd, $path, $from_empty_path;
}

sub lay_out {
    my (@shares) = @_;
    my (@links, @trees);
    for my $path (@tools) {
        # With /usr merged the folders in / are links.
        if (-l "/$path") { push @links, [$path, readlink "/$path"] }
        elsif (-e _) { push @trees, [take("/$path", $readonly | $nosuid | $nodev), -d "/$path", $path] }
    }
    for my $name (grep { -e "/dev/$_" } @devices) {
        push @trees, [take("/dev/$name", $readonly | $nosuid | $noexec), 0, "dev/$name"];
    }
    # The console is the host's.
    push @trees, [take('/dev/null', $readonly | $nosuid | $noexec), 0, 'dev/console'];
    for my $share (@shares) {
        my ($access, $from, $at) = @$share;
        push @trees, [take($from, $nosuid | $nodev | ($access eq 'rw' ? 0 : $readonly)), -d $from, $at];
    }
    call 'mount', 'sandbox', $site, 'tmpfs', $ms_nosuid | $ms_nodev, 'mode=755,size=1m';
    chdir $site or die "enter the sandbox's root: $!\n";
    for my $link (@links) {
        my ($path, $target) = @$link;
        make('usr', 1);
        symlink $target, $path or die "create $path: $!\n";
    }
    put(@$_) for @trees;
    for my $folder ('tmp', 'dev/shm') {
        make($folder, 1);
        call 'mount', 'sandbox', $folder, 'tmpfs', $ms_nosuid | $ms_nodev, 'mode=1777,size=64m';
    }
    symlink "/proc/self/fd$$_[1]", "dev/$$_[0]" for ['fd', ''], ['stdin', '/0'], ['stdout', '/1'], ['stderr', '/2'];
    write_file('etc/passwd', "root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n");
    write_file('etc/group', "root:x:0:\nnogroup:x:65534:\n");
    make('proc', 1);
    my $root = call('open_tree', $at_fdcwd, '.', $cloexec);
    restrict($root, 0, $readonly | $nosuid | $nodev);
    POSIX::close($root);
}

# The lines of an id map. The kernel takes only lines that lie in one line of the map above.
sub id_map {
    my ($file, $first) = @_;
    return "0 $first $ids\n" if $first ne 'same';
    open my $map, '<', "/proc/self/$file" or die "open /proc/self/$file: $!\n";
    my $lines = '';
    while (my $line = <$map>) {
        my ($inside, undef, $count) = split ' ', $line;
        $count = $ids - $inside if $inside + $count > $ids;
        $lines .= "$inside $inside $count\n" if $count > 0;
    }
    return $lines;
}

# Nothing of the host but what was put there.
sub check_view {
    my (@put) = @_;
    my %expected = map { ("/$_" => 1) } '', 'proc', 'tmp', 'dev/shm', 'dev/console', @tools, @put, map { "dev/$_" } @devices;
    my $of_tools = join '|', map { quotemeta "/$_/" } @tools;
    open my $list, '<', '/proc/self/mountinfo' or die "open /proc/self/mountinfo: $!\n";
    while (my $line = <$list>) {
        my $at = (split / /, $line)[4];
        $expected{$at} || $at =~ /^(?:$of_tools)/ or die "$at of the host is in the sandbox\n";
    }
}

# As the first process of the process namespace.
sub leave_host {
    my (@put) = @_;
    # What was copied into this namespace cannot become its root; a copy of that can.
    call 'mount', $site, $site, 0, $ms_bind | $ms_rec, 0;
    # Beside the host's, which the kernel asks for: whoever sees only a part of /proc may not have another.
    call 'mount', 'proc', "$site/proc", 'proc', $ms_nosuid | $ms_nodev | $ms_noexec, 0;
    chdir $site or die "enter the sandbox's root: $!\n";
    call 'pivot_root', '.', '.';
    call 'umount2', '.', $detach;
    chdir '/' or die "enter the sandbox's root: $!\n";
    check_view(@put);
}

sub give_rights_up {
    call 'setgroups', 0, 0;
    POSIX::setgid(0) && POSIX::setuid(0) or die "become root of the sandbox: $!\n";
    call 'sethostname', 'localhost', length 'localhost';
    # A control group namespace of its own would let it mount, and kill, the group that it was started in.
    write_file("/proc/sys/user/max_${_}_namespaces", '0') for qw(cgroup ipc net pid user uts);
    # Where the kernel has no keys, or a filter forbids to use them, there are none to take along.
    try('keyctl', $join_session, 0) < 0 && !($!{ENOSYS} || $!{EPERM}) and die "keyctl: $!\n";
    for (my $n = 0; ; $n++) {
        next if $kept{$n};
        last if try('prctl', $drop_capability, $n, 0, 0, 0) < 0;
    }
    call 'prctl', $no_new_privileges, 1, 0, 0, 0;
    # No terminal: its input could be written, and the caller's shell would read that.
    POSIX::setsid() > 0 or die "setsid: $!\n";
}

# 3. In the copy of the mounts, with root's rights over them alone.
sub become {
    my ($alive, $program, @put) = @_;
    leave_host(@put);
    give_rights_up();
    end_with_parent();
    # Whoever ended before that is noticed by the pipe that it held open.
    my $bits = '';
    vec($bits, fileno $alive, 1) = 1;
    POSIX::_exit(1) if select $bits, undef, undef, 0;
    exec { $$program[0] } @$program or die "start $$program[0]: $!\n";
}

# 2.
sub enter {
    my ($told, $wait, @rest) = @_;
    end_with_parent();
    call 'unshare', $all;
    end_with_parent();
    syswrite $told, '.';
    sysread($wait, my $word, 1) or POSIX::_exit(1);
    pipe my $alive, my $held or die "pipe: $!\n";
    my $child = fork // die "fork: $!\n";
    if (!$child) {
        close $held;
        become($alive, @rest);
    }
    wait_for($child);
}

# 1.
my ($parent, $first) = splice @ARGV, 0, 2;
my @shares;
push @shares, [splice @ARGV, 0, 3] while $ARGV[0] ne '--';
shift;
end_with_parent();
getppid == $parent or die "kbake ended\n";
opendir my $open, '/proc/self/fd' or die "open /proc/self/fd: $!\n";
my @inherited = grep { /^\d+$/ && $_ > 2 } readdir $open;
closedir $open;
POSIX::close($_) for @inherited;
umask 022;
call 'unshare', $mounts;
call 'mount', 'none', '/', 0, $ms_rec | $ms_private, 0;
if ($first ne 'same') {
    for (grep { $$_[0] eq 'rw' } @shares) {
        chown $first, $first, $$_[1] or die "hand $$_[1] over to the sandbox: $!\n";
    }
}
lay_out(@shares);
pipe my $told, my $tell or die "pipe: $!\n";
pipe my $wait, my $go or die "pipe: $!\n";
my $child = fork // die "fork: $!\n";
if (!$child) {
    close $_ for $told, $go;
    enter($tell, $wait, \@ARGV, map { $$_[2] } @shares);
}
close $_ for $tell, $wait;
wait_for($child) unless sysread $told, my $word, 1;
for my $map ('uid_map', 'gid_map') {
    write_file("/proc/$child/$map", id_map($map, $first));
}
syswrite $go, '.';
wait_for($child);
