/*
 * What runs inside the machine of `lib.boot`, by its first argument:
 *
 *   init                 PID 1 and nothing else: say that it is there
 *   answer NAME SOCKET   ask a varlink service for its GetInfo, say that it answered
 *   service              say ready (sd_notify(3)), sleep
 *   product              the image's own plan in place of the small one, then ainit
 *   starts ROUNDS        PID 1: the times of starting Python bare, and as PID 1
 *
 * To say something is a line on the virtio port: a word, then nanoseconds since the kernel's clock
 * began (CLOCK_BOOTTIME), taken before the port is opened, and nanoseconds of that in which the
 * processor was idle.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define DEVICES 10
#define PYTHON "/usr/bin/python3"
#define QUESTION "{\"method\":\"org.varlink.service.GetInfo\"}"
/* What the kernel executes, up to where its modules are there: PID 1 never ends, so it just leaves. */
#define START "exec(open('/usr/sbin/init').read().replace('    main()', '    os._exit(0)'))"

static uint64_t now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_BOOTTIME, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void rest(void)
{
	struct timespec millisecond = { 0, 1000000 };
	nanosleep(&millisecond, NULL);
}

static uint64_t idle(void)
{
	double up = 0, idle = 0;
	FILE *file = fopen("/proc/uptime", "r");
	if (file && fscanf(file, "%lf %lf", &up, &idle) != 2)
		idle = 0;
	if (file)
		fclose(file);
	return (uint64_t)(idle * 1e9);
}

static void say(const char *word, uint64_t value, uint64_t other)
{
	char line[128];
	int port = -1, length = snprintf(line, sizeof line, "%s %llu %llu\n", word,
	                                 (unsigned long long)value, (unsigned long long)other);
	while (port < 0) { /* not there yet, or another one is speaking */
		char path[] = "/dev/vport0p1"; /* the first digit is the number of the virtio device */
		for (int device = 0; port < 0 && device < DEVICES; device++) {
			path[10] = (char)('0' + device);
			port = open(path, O_WRONLY | O_CLOEXEC);
		}
		if (port < 0)
			rest();
	}
	if (write(port, line, (size_t)length) != length)
		_exit(4);
	close(port);
}

static socklen_t address_of(struct sockaddr_un *address, const char *path)
{
	size_t length = strlen(path);
	if (length >= sizeof address->sun_path)
		_exit(5);
	address->sun_family = AF_UNIX;
	memcpy(address->sun_path, path, length + 1);
	if (path[0] == '@')
		address->sun_path[0] = 0;
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + (path[0] != '@'));
}

static int answer(const char *name, const char *path)
{
	struct sockaddr_un address;
	socklen_t length = address_of(&address, path);
	char reply[4096];
	int line = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	while (connect(line, (struct sockaddr *)&address, length))
		rest();
	if (write(line, QUESTION, sizeof QUESTION) != sizeof QUESTION)
		return 6;
	for (;;) {
		ssize_t got = read(line, reply, sizeof reply);
		if (got <= 0)
			return 7;
		if (!reply[got - 1])
			break;
	}
	say(name, now(), idle());
	return 0;
}

static int service(void)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un address;
	if (path) {
		socklen_t length = address_of(&address, path);
		int out = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		if (sendto(out, "READY=1", 7, MSG_NOSIGNAL, (struct sockaddr *)&address, length) != 7)
			return 8;
		close(out);
	}
	for (;;)
		pause();
}

static uint64_t start(const char *code)
{
	uint64_t begun = now();
	pid_t child = vfork();
	if (!child) {
		execl(PYTHON, PYTHON, "-I", "-S", "-c", code, (char *)NULL);
		_exit(127);
	}
	int status = -1;
	if (waitpid(child, &status, 0) != child || status)
		_exit(9);
	return now() - begun;
}

static void starts(int rounds)
{
	mount("proc", "/proc", "proc", 0, NULL);
	for (int round = 0; round <= rounds; round++) {
		uint64_t bare = start("pass");
		uint64_t own = start(START);
		uint64_t endless = start("import posix; posix._exit(0)");
		if (!round)
			continue; /* reads the disk */
		say("start", bare, own);
		say("endless", endless, own);
	}
	say("end", now(), 0);
}

int main(int count, char **words)
{
	const char *role = count > 1 ? words[1] : "";
	if (!strcmp(role, "answer") && count == 4)
		return answer(words[2], words[3]);
	if (!strcmp(role, "service"))
		return service();
	if (!strcmp(role, "product")) {
		if (mount("/usr/lib/bench/product.json", "/usr/lib/ainos/plan.json", NULL, MS_BIND, NULL))
			return 10;
		execl("/usr/sbin/init", "/usr/sbin/init", (char *)NULL);
		return 11;
	}
	if (!strcmp(role, "init")) {
		uint64_t moment = now();
		mount("proc", "/proc", "proc", 0, NULL);
		mount("sysfs", "/sys", "sysfs", 0, NULL);
		say("init", moment, idle());
	} else if (!strcmp(role, "starts") && count == 3) {
		starts(atoi(words[2]));
	} else {
		return 64;
	}
	for (;;)
		pause();
}
