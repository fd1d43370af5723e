# What TCP, UDP and ICMP do between two ends. An end is a pod's network namespace, or a host's own.
#
#   serve TOKEN SECONDS ADDRESS PORTS  listen in the background; tell the two ports, which are ADDRESS's if PORTS is 1
#   ask TOKEN ADDRESS TALKS PINGS      ask others, and say how each of them answered
#   end TOKEN                          end what serves here; say whose pings it has seen
#
# It takes nothing but what is in Debian's perl-base, and leaves neither a file nor, after SECONDS, a process. Without
# POSIX, which would take longer to load than all the rest.
use strict;
use warnings;
use Socket;

use constant {
    ICMP            => 1,
    ECHO_REPLY      => 0,
    UNREACHABLE     => 3,
    ECHO_REQUEST    => 8,
    TIME_EXCEEDED   => 11,
    IP_MTU_DISCOVER => 10,        # linux/in.h
    PROBE           => 3,         # never in fragments, whatever was learnt of the path before
    MAY_FRAGMENT    => 0,
    UNACKNOWLEDGED  => 0x5411,    # SIOCOUTQ, tcp(7)
    AF_PACKET       => 17,
    ETHERTYPE_IPV4  => 0x0800,
    ABREAST         => 16,        # exchanges at once in one end
    TICK            => 0.25,      # seconds until an echo request is sent again
};

my ($act, $token, @words) = @ARGV;
my %acts = (serve => \&serve, ask => \&ask, end => \&end_of_it);
$acts{$act}->(@words);

# --- listening -------------------------------------------------------------------------------------------------------

sub serve {
    my ($seconds, $address, $ports) = @_;
    my $own = $address =~ /^toward:(.*)/ ? own_address($1) : $address;
    my ($tcp, $udp) = $ports ? (bound(SOCK_STREAM, $own), bound(SOCK_DGRAM, $own)) : ();
    listen($tcp, SOMAXCONN) or die "listen: $!\n" if $tcp;
    my $icmp = raw();
    socket(my $control, PF_UNIX, SOCK_STREAM, 0) or die "socket: $!\n";
    bind($control, pack_sockaddr_un("\0podnet-$token")) or die "this namespace is being asked already: $!\n";
    listen($control, 1) or die "listen: $!\n";
    defined(my $child = fork) or die "fork: $!\n";
    if ($child) {
        print join(' ', 'serving', $own, map { $_ ? port($_) : 0 } $tcp, $udp), "\n";
        return;
    }
    # ssh waits until nobody holds its ends any more.
    setpgrp;
    open(STDIN, '<', '/dev/null') && open(STDOUT, '>', '/dev/null') && open(STDERR, '>&', \*STDOUT) or exit 1;
    $SIG{CHLD} = 'IGNORE';
    alarm($seconds);
    my %seen;
    while (1) {
        my %ready = map { $_ => 1 } readable(undef, grep { $_ } $tcp, $udp, $icmp, $control);
        answer($tcp, $seconds) if $tcp && $ready{$tcp};
        give_back($udp) if $udp && $ready{$udp};
        note($icmp, \%seen) if $ready{$icmp};
        last if $ready{$control};
    }
    accept(my $asker, $control) or die;
    syswrite($asker, join('', map { "seen $_\n" } sort keys %seen) . "ended $own\n");
    kill TERM => -$$;
}

# One connection: a length and as many bytes; then who seems to ask, and the same bytes.
sub answer {
    my ($listener, $seconds) = @_;
    my $peer = accept(my $socket, $listener) or return;
    my $child = fork;
    return if !defined $child || $child;
    $SIG{PIPE} = 'IGNORE';
    alarm($seconds);
    my $length = received($socket, 4);
    my $content = received($socket, length $length == 4 ? unpack('N', $length) : 0);
    sent($socket, (sockaddr_in($peer))[1] . $content);
    exit 0;
}

sub give_back {
    my ($udp) = @_;
    my $peer = recv($udp, my $datagram, 65535, 0) or return;
    substr($datagram, 0, 4) = (sockaddr_in($peer))[1];
    send($udp, $datagram, 0, $peer);
}

sub note {
    my ($icmp, $seen) = @_;
    my $packet = echo($icmp) or return;
    $seen->{join ' ', map { $packet->{$_} } qw(source sender target)} = 1 if $packet->{type} == ECHO_REQUEST;
}

sub end_of_it {
    socket(my $control, PF_UNIX, SOCK_STREAM, 0) or die "socket: $!\n";
    connect($control, pack_sockaddr_un("\0podnet-$token")) or die "what was started here has ended by itself: $!\n";
    print while <$control>;
}

# --- asking ----------------------------------------------------------------------------------------------------------

sub ask {
    my ($own, $talks, $pings) = @_;
    $| = 1;
    my $children = 0;
    for my $row (grep { !/ \Q$own\E / } split /\n/, $talks) {
        wait, $children-- if $children >= ABREAST;
        defined(my $child = fork) or die "fork: $!\n";
        $children++, next if $child;
        talk($own, split / /, $row);
        exit 0;
    }
    pings($own, map { [split / /] } split /\n/, $pings);
    1 while wait != -1;
}

sub talk {
    my ($own, $kind, $to, $port, $size, $seconds) = @_;
    my $words = '';
    my $peer = eval {
        local $SIG{ALRM} = sub { die "$words\n" };
        my $peer = ($kind eq 'tcp' ? \&tcp : \&udp)->($to, $port, $size, $seconds, \$words, $kind eq 'whole');
        alarm(0);
        $peer;
    };
    chomp(my $problem = $@);
    say_line($kind, $own, $to, $size, $problem ? "failed $problem" : "ok $peer");
}

# `seconds` are those in which nothing moves: how fast the wire is nobody promises.
sub tcp {
    my ($to, $port, $size, $seconds, $words) = @_;
    socket(my $socket, PF_INET, SOCK_STREAM, 0) or die "socket: $!\n";
    $$words = 'nothing answered when it connected';
    alarm($seconds);
    connect($socket, sockaddr_in($port, inet_aton($to))) or die "it could not connect: $!\n";
    alarm(0);
    my $content = content($size);
    my ($out, $back) = (pack('N', $size) . $content, '');
    my ($arrived, $before, $still) = (0, -1, 0);
    while (length $back < $size + 4) {
        my $written = length $out ? send($socket, $out, MSG_DONTWAIT) // 0 : 0;
        substr($out, 0, $written) = '';
        if (readable(TICK, $socket)) {
            sysread($socket, $back, 65536, length $back) or die "the connection was cut: " . how_far($size, $arrived, $back) . "\n";
        }
        ioctl($socket, UNACKNOWLEDGED, my $queue = pack('i', 0)) // die "ioctl: $!\n";
        $arrived = $size - length($out) - unpack('i', $queue);
        $still = $arrived + length $back == $before ? $still + TICK : 0;
        $before = $arrived + length $back;
        die 'it connected, then stalled: ' . how_far($size, $arrived, $back) . "\n" if $still >= $seconds;
    }
    compare($content, substr($back, 4));
    return inet_ntoa(substr($back, 0, 4));
}

sub how_far {
    my ($size, $arrived, $back) = @_;
    return sprintf '%d of %d bytes arrived there', $arrived < 0 ? 0 : $arrived, $size if $arrived < $size && !length $back;
    return sprintf 'all %d bytes arrived there, %d came back', $size, length $back > 4 ? length($back) - 4 : 0;
}

sub udp {
    my ($to, $port, $size, $seconds, $words, $whole) = @_;
    alarm($seconds);
    socket(my $socket, PF_INET, SOCK_DGRAM, 0) or die "socket: $!\n";
    setsockopt($socket, 0, IP_MTU_DISCOVER, pack('i', $whole ? PROBE : MAY_FRAGMENT)) or die "setsockopt: $!\n";
    connect($socket, sockaddr_in($port, inet_aton($to))) or die "it could not send: $!\n";
    my $content = content($size);
    for (my $times = 1; ; $times++) {
        $$words = "no answer to $times datagrams of $size bytes";
        send($socket, $content, 0) or die "it could not send $size bytes: $!\n";
        next unless readable(2 * TICK, $socket);
        defined(recv($socket, my $back, 65535, 0)) or die "it was refused: $!\n";
        die sprintf("%d bytes came back of %d\n", length $back, $size) if length $back != $size;
        compare(substr($content, 4), substr($back, 4));
        return inet_ntoa(substr($back, 0, 4));
    }
}

# Each word tells its own place, so that nothing lost, doubled or out of order can look right.
sub content {
    my ($size) = @_;
    my $first = int rand(2**30);
    return substr(pack('N*', $first .. $first + $size / 4), 0, $size);
}

sub compare {
    my ($want, $have) = @_;
    return if $want eq $have;
    my ($same) = ($want ^ $have) =~ /^(\0*)/;
    die sprintf("what came back differs from what was sent at byte %d of %d\n", length $same, length $want);
}

# Rows of address, seconds, and `-` or the address of a node: then the packet is handed to that node, whatever route
# there is or is not, as a router before it would.
sub pings {
    my ($own, @rows) = @_;
    @rows or return;
    my $icmp = raw();
    my %open = map { $_->[0] => { seconds => $_->[1], via => $_->[2], words => 'no reply' } } @rows;
    for (my $time = 0; %open; $time += TICK) {
        for my $to (sort keys %open) {
            my $ping = $open{$to};
            my $problem = request($icmp, $own, $to, $ping->{via}, $time / TICK);
            $ping->{words} = $problem if $problem;
            finish(\%open, $own, $to, "failed $ping->{words}") if $time >= $ping->{seconds};
        }
        hear($icmp, \%open, $own);
    }
}

sub hear {
    my ($icmp, $open, $own) = @_;
    my $left = TICK;
    while ($left > 0 && %$open) {
        vec(my $bits = '', fileno($icmp), 1) = 1;
        (my $n, $left) = select($bits, undef, undef, $left);
        next if $n < 1;
        my $packet = echo($icmp) or next;
        next unless $packet->{sender} eq $own && $open->{$packet->{about}};
        if ($packet->{type} == ECHO_REPLY) {
            finish($open, $own, $packet->{about}, "ok $packet->{ttl}");
        } elsif ($packet->{type} != ECHO_REQUEST) {
            my ($type, $code) = @$packet{qw(type code)};
            $open->{$packet->{about}}{words} = "refused by $packet->{source} (ICMP type $type, code $code)";
        }
    }
}

sub finish {
    my ($open, $own, $to, $how) = @_;
    delete $open->{$to};
    say_line('icmp', $own, $to, 0, $how);
}

# Send an echo request whose payload says who asks whom, which no translation of addresses changes.
sub request {
    my ($icmp, $own, $to, $via, $times) = @_;
    my ($from, $target) = (inet_aton($own), inet_aton($to));
    my $said = $token . $from . $target;
    my $message = sub { pack('C C n n n a*', ECHO_REQUEST, 0, $_[0], $$ & 0xffff, $times, $said) };
    my $whole = $message->(checksum($message->(0)));
    if ($via eq '-') {
        return send($icmp, $whole, 0, sockaddr_in(0, $target)) ? '' : "it could not send: $!";
    }
    my ($dev, $mac) = neighbour($via) or return "the MAC of $via is not known here";
    my $header = sub { pack('C C n n n C C n a4 a4', 0x45, 0, 20 + length $whole, $$ & 0xffff, 0, 64, ICMP, $_[0], $from, $target) };
    socket(my $wire, AF_PACKET, SOCK_DGRAM, 0) or die "socket: $!\n";
    my $there = pack('S n l S C C a8', AF_PACKET, ETHERTYPE_IPV4, index_of($dev), 0, 0, 6, $mac);
    return send($wire, $header->(checksum($header->(0))) . $whole, 0, $there) ? '' : "it could not send to $via: $!";
}

# --- sockets ---------------------------------------------------------------------------------------------------------

sub bound {
    my ($type, $address) = @_;
    socket(my $socket, PF_INET, $type, 0) or die "socket: $!\n";
    bind($socket, sockaddr_in(0, inet_aton($address))) or die "$address is not to be had here: $!\n";
    return $socket;
}

sub port { return (sockaddr_in(getsockname($_[0])))[0] }

# Which of this host's addresses it would use towards another one; nothing is sent for it.
sub own_address {
    my ($to) = @_;
    socket(my $socket, PF_INET, SOCK_DGRAM, 0) or die "socket: $!\n";
    connect($socket, sockaddr_in(9, inet_aton($to))) or die "there is no way to $to: $!\n";
    return inet_ntoa((sockaddr_in(getsockname($socket)))[1]);
}

sub raw {
    socket(my $socket, PF_INET, SOCK_RAW, ICMP) or die "only root may listen to ICMP: $!\n";
    return $socket;
}

# Read an ICMP message; nothing unless it is about an echo request of ours.
sub echo {
    my ($icmp) = @_;
    defined(recv($icmp, my $packet, 65535, 0)) or return;
    my $body = substr($packet, 4 * (ord($packet) & 15));
    return if length $body < 8;
    my ($type, $code) = unpack('C C', $body);
    my $said = substr($body, 8);
    if ($type == UNREACHABLE || $type == TIME_EXCEEDED) {    # what it is about follows: an IPv4 header, then our message
        return if length $said < 28;
        $said = substr($said, 4 * (ord($said) & 15) + 8);
    }
    return if length $said < length($token) + 8 || index($said, $token) != 0;
    my ($sender, $about) = map { inet_ntoa($_) } unpack('a4 a4', substr($said, length $token));
    my ($ttl, $source, $target) = unpack('x8 C x3 a4 a4', $packet);
    return {
        type => $type, code => $code, ttl => $ttl, sender => $sender, about => $about,
        source => inet_ntoa($source), target => inet_ntoa($target),
    };
}

sub readable {
    my ($seconds, @sockets) = @_;
    my $bits = '';
    vec($bits, fileno($_), 1) = 1 for @sockets;
    my $n = select($bits, undef, undef, $seconds);
    return $n > 0 ? grep { vec($bits, fileno($_), 1) } @sockets : ();
}

sub received {
    my ($socket, $length) = @_;
    my $whole = '';
    while (length $whole < $length) {
        sysread($socket, $whole, $length - length $whole, length $whole) or last;
    }
    return $whole;
}

sub sent {
    my ($socket, $whole) = @_;
    local $SIG{PIPE} = 'IGNORE';
    for (my $done = 0; $done < length $whole;) {
        $done += syswrite($socket, $whole, length($whole) - $done, $done) // return 0;
    }
    return 1;
}

sub neighbour {
    my ($address) = @_;
    open(my $table, '<', '/proc/net/arp') or die "/proc/net/arp: $!\n";
    for (map { [split] } <$table>) {
        my ($ip, $flags, $mac, $dev) = @$_[0, 2, 3, 5];
        return ($dev, pack('H2' x 6, split /:/, $mac)) if $ip eq $address && $flags ne '0x0';
    }
    return;
}

sub index_of {
    my ($dev) = @_;
    open(my $file, '<', "/sys/class/net/$dev/ifindex") or die "$dev: $!\n";
    return 0 + <$file>;
}

sub checksum {
    my ($bytes) = @_;
    my $sum = unpack('%32n*', length($bytes) % 2 ? "$bytes\0" : $bytes);
    $sum = ($sum >> 16) + ($sum & 0xffff) while $sum >> 16;
    return ~$sum & 0xffff;
}

# A line is written at once, so that those of several processes do not mix.
sub say_line { syswrite(STDOUT, join(' ', @_) . "\n") }
