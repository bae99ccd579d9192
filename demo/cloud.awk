# A day in the life of a small cloud, 2016-12-12, as the messages that its billing gets.
#
# Prints a line a message, tabs between: the hour it is delivered in, a random number to shuffle that hour by, and the
# message as CSV (time,source,id,resource,account,entity,action,offering,value). The random numbers are made here, so
# the same seed gives the same messages with any awk. A summary goes to standard error.

BEGIN {
	seed = seed ? seed : 20161212
	minute = 60; hour = 3600; day = 24 * hour
	end = day + 10 * minute		# a little of the next day, so that the clock passes midnight

	vcpus["small"] = 1; vcpus["medium"] = 2; vcpus["large"] = 4; vcpus["xlarge"] = 8
	cities = split("geneva lausanne basel zurich bern lugano sion vevey thun chur davos olten", city)
	things = split("jug kite fox lamp", thing)
	accounts = cities * things
	for (i = 0; i < accounts; i++)
		account[i] = city[i % cities + 1] "-" thing[(i + int(i / cities)) % things + 1]

	one_vm_by_hand()
	for (i = 0; i < accounts; i++) {
		size = 4 / (1 + i % cities)	# a few big customers, many small ones
		for (n = some(50 * size); n > 0; n--) server(account[i])
		for (n = some(20 * size); n > 0; n--) desktop(account[i])
		if (i % 4 == 1) for (n = some(75 * size); n > 0; n--) spot(account[i])
		if (i % 6 == 2) for (n = some(200 * size); n > 0; n--) build(account[i])
	}
	for (i = 0; i < accounts; i += 8) crashing(account[i])

	printf "%d accounts, %d VMs, %d messages: %d get lost, %d are sent twice, %d come more than an hour late\n",
		accounts, vms, messages, lost, twice, late > "/dev/stderr"
}

# The VM that the report follows; the last figure is how long the message takes.
function one_vm_by_hand(  vm) {
	vm = "7a070a3d-66ff-4658-ab08-fe3cecd7c70f"
	vms++
	deliver(at( 9, 12, 40), vm, "geneva-jug", "create", "small", 2)
	deliver(at(11, 30, 10), vm, "geneva-jug", "resize", "medium", 3)
	deliver(at(12, 15, 20), vm, "geneva-jug", "stop", "medium", 1)		# a restart within a minute
	deliver(at(12, 15, 50), vm, "geneva-jug", "start", "medium", 2)
	deliver(at(14,  3,  5), vm, "basel-fox", "transfer", "medium", 5)	# sold
	deliver(at(16, 20, 30), vm, "basel-fox", "stop", "medium", 4 * hour)	# told four hours late
	deliver(at(20,  5,  0), vm, "basel-fox", "start", "medium", 2)
	again(at(20,  5,  0), vm, "basel-fox", "start", "medium", 9)
	deliver(at(22,  0,  0), vm, "basel-fox", "delete", "medium", 4)
}

# Is simply there, often for weeks: now and then a restart, a resize, a transfer; a backup, which no meter asks for.
function server(who,  vm, offering, t, dice) {
	vm = new_vm(); offering = any_offering()
	t = rnd() < 0.9 ? -between(0, 30 * day) : between(0, day)
	say(t, vm, who, "create", offering)
	if (t < 0) t = 0
	say(t + between(0, 6 * hour), vm, who, "backup", offering)
	while ((t += between(hour, 20 * hour)) < end) {
		dice = rnd()
		if (dice < 0.6) {
			say(t, vm, who, "stop", offering)
			t += between(20, 3 * minute)
			say(t, vm, who, "start", offering)
		} else if (dice < 0.85) {
			offering = any_offering()
			say(t, vm, who, "resize", offering)
		} else if (dice < 0.9) {
			who = account[between(0, accounts)]
			say(t, vm, who, "transfer", offering)
		} else {
			say(t, vm, who, "delete", offering)
			return
		}
	}
}

# Runs from morning to evening, and is off over lunch if somebody thinks of it.
function desktop(who,  vm, offering, t) {
	vm = new_vm(); offering = any_offering()
	say(-between(day, 30 * day), vm, who, "create", offering)
	say(-between(5 * hour, 8 * hour), vm, who, "stop", offering)
	say(between(7 * hour, 10 * hour), vm, who, "start", offering)
	if (rnd() < 0.5) {
		t = between(12 * hour, 13 * hour)
		say(t, vm, who, "stop", offering)
		say(t + between(20 * minute, hour), vm, who, "start", offering)
	}
	say(between(16 * hour, 20 * hour), vm, who, "stop", offering)
}

# Runs for some minutes whenever there is room, day and night.
function spot(who,  vm, offering, t) {
	vm = new_vm(); offering = any_offering()
	t = between(-hour, hour)
	say(t, vm, who, "create", offering)
	while (t < end) {
		t += between(4 * minute, 40 * minute)
		say(t, vm, who, "stop", offering)
		t += between(minute, 20 * minute)
		say(t, vm, who, "start", offering)
	}
}

# Lives for one build.
function build(who,  vm, t) {
	vm = new_vm()
	t = between(6 * hour, 22 * hour)
	say(t, vm, who, "create", "large")
	say(t + between(2 * minute, 25 * minute), vm, who, "delete", "large")
}

# Fails every few minutes, and is started again.
function crashing(who,  vm, t) {
	vm = new_vm()
	t = -hour
	say(t, vm, who, "create", "small")
	while (t < end) {
		t += between(minute, 6 * minute)
		say(t, vm, who, "stop", "small")
		t += between(5, 20)
		say(t, vm, who, "start", "small")
	}
}

# The cloud sends a message. Most take less than a minute, some ten, few hours; of 1000 two get lost and 30 come twice.
function say(t, vm, who, action, offering,  dice, takes) {
	if (t > end)
		return
	if (rnd() < 0.002) {
		messages++; lost++
		return
	}
	dice = rnd()
	takes = dice < 0.95 ? between(0, minute) : dice < 0.99 ? between(minute, 10 * minute) : between(0, between(0, 10 * hour))
	deliver(t, vm, who, action, offering, takes)
	if (rnd() < 0.03)
		again(t, vm, who, action, offering, takes + between(1, 20 * minute))
}

function deliver(t, vm, who, action, offering, takes) {
	messages++
	if (takes > hour) late++
	print_message(t, vm, who, action, offering, takes)
}

function again(t, vm, who, action, offering, takes) {
	twice++
	print_message(t, vm, who, action, offering, takes)
}

# What happened before the day was delivered before the day; what comes long after midnight is read in the morning.
function print_message(t, vm, who, action, offering, takes,  delivered) {
	delivered = t < 0 ? 0 : 1 + int((t + takes) / hour)
	if (delivered > 25) delivered = 26
	printf "%d\t%d\t%s,cloudstack,%d,%s,%s,vm,%s,%s,%d\n", delivered, between(0, 1000000),
		instant(t), messages, vm, who, action, offering, vcpus[offering]
}

function at(h, m, s) { return h * hour + m * minute + s }
function between(a, b) { return a + int((b - a) * rnd()) }
function some(n) { return int(n * (0.7 + 0.6 * rnd())) }
function any_offering(  r) { r = rnd(); return r < 0.5 ? "small" : r < 0.8 ? "medium" : r < 0.95 ? "large" : "xlarge" }

function new_vm(  i, uuid) {
	vms++
	for (i = 0; i < 8; i++)
		uuid = uuid sprintf("%04x", between(0, 65536)) (i >= 1 && i <= 4 ? "-" : "")
	return uuid
}

# Seconds from the day's midnight as an instant; good for a month back.
function instant(t,  d) {
	d = 12 + int((t + 30 * day) / day) - 30
	t -= (d - 12) * day
	return sprintf("2016-%02d-%02dT%02d:%02d:%02dZ", d > 0 ? 12 : 11, d > 0 ? d : d + 30,
		t / hour, t % hour / minute, t % minute)
}

# Park and Miller's generator: exact in the numbers of any awk.
function rnd() {
	seed = seed * 16807 % 2147483647
	return seed / 2147483647
}
