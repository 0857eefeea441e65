/*
 * The service that every supervisor runs in `make bench-supervisor`, and what measures around it.
 *
 *   service NUMBER RECORDS [READY_FD]   record the start, say that it is ready, print a line, sleep
 *   service exec RECORDS PROGRAM ...    record the moment of exec under the number EXEC
 *   service once NUMBER RECORDS         record the start and end well
 *   service kill                        read pids, a line a volley: kill them, print the moment
 *
 * A record is { uint32 number, uint32 pid, uint64 nanoseconds of CLOCK_MONOTONIC }, written by one
 * append. Ready is said with a newline on READY_FD, else by sd_notify(3) where NOTIFY_SOCKET is set.
 */
#include <fcntl.h>
#include <stddef.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define EXEC 0xffffffffu

static uint64_t now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int record(uint32_t number, const char *path)
{
	struct { uint32_t number, pid; uint64_t moment; } line = { number, (uint32_t)getpid(), now() };
	int file = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
	int whole = file >= 0 && write(file, &line, sizeof line) == sizeof line;
	if (file >= 0)
		close(file);
	return whole ? 0 : -1;
}

static void notify(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	size_t length = strlen(path);
	int out = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (length >= sizeof address.sun_path || out < 0)
		_exit(3);
	memcpy(address.sun_path, path, length);
	if (path[0] == '@')
		address.sun_path[0] = 0;
	if (sendto(out, "READY=1", 7, MSG_NOSIGNAL, (struct sockaddr *)&address,
	           (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length)) != 7)
		_exit(4);
	close(out);
}

static int volleys(void)
{
	static char line[1 << 16];
	while (fgets(line, sizeof line, stdin)) {
		uint64_t start = now();
		for (char *word = strtok(line, " \n"); word; word = strtok(NULL, " \n"))
			kill((pid_t)atoi(word), SIGKILL);
		printf("%llu\n", (unsigned long long)start);
		fflush(stdout);
	}
	return 0;
}

int main(int count, char **words)
{
	if (count == 2 && !strcmp(words[1], "kill"))
		return volleys();
	if (count > 3 && !strcmp(words[1], "exec")) {
		if (record(EXEC, words[2]))
			return 2;
		execv(words[3], words + 3);
		return 127;
	}
	if (count == 4 && !strcmp(words[1], "once"))
		return record((uint32_t)atoi(words[2]), words[3]) ? 2 : 0;
	if (count < 3)
		return 64;
	if (record((uint32_t)atoi(words[1]), words[2]))
		return 2;
	const char *path = getenv("NOTIFY_SOCKET");
	if (count > 3) {
		int ready = atoi(words[3]);
		if (write(ready, "\n", 1) != 1)
			return 5;
		close(ready);
	} else if (path)
		notify(path);
	dprintf(1, "service %s runs\n", words[1]);
	for (;;)
		pause();
}
