// SPDX-License-Identifier: GPL-2.0
/*
 * R1, R2: what was pending is pending again, in its order.
 *
 * A kernel was seen to be wrong in step 10:
 *   R1: at the queue's release every pending event becomes unread again
 *   allowed is: OPEN_PERM f0 by a
 *   the kernel did: main is blocked
 *
 * The steps:
 *    1. c = fanotify_init(CLASS_CONTENT | RESTARTABLE, O_RDONLY)
 *    2. fanotify_mark(c, ADD, OPEN_PERM, f0)
 *    3. q = open_queue(c)
 *    4. a = spawn open(f0, O_RDONLY)
 *    5. e = read(q)
 *    6. d = fork()
 *    7. d: close(q)
 *    8. close(q)
 *    9. q2 = open_queue(c)
 *   10. e2 = read(q2)
 *
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <linux/loop.h>
#include <linux/types.h>
#include <linux/userfaultfd.h>
#include <sys/epoll.h>
#include <sys/fanotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "../../kselftest_harness.h"

#ifndef FAN_RESTARTABLE_EVENTS
#define FAN_RESTARTABLE_EVENTS	0x00008000
#endif

#ifndef FAN_IOC_OPEN_QUEUE_FD
#define FAN_IOC_OPEN_QUEUE_FD	_IO('F', 0xF0)
#endif

#ifndef FAN_PRE_ACCESS
#define FAN_PRE_ACCESS	0x00100000
#endif

#ifndef FAN_EVENT_INFO_TYPE_PIDFD
#define FAN_EVENT_INFO_TYPE_PIDFD	4
#endif

#ifndef FAN_EVENT_INFO_TYPE_RANGE
#define FAN_EVENT_INFO_TYPE_RANGE	6
#endif

#define AT_T	"/tmp/t"
#define PATH_F0	"/tmp/t/f0"
#define BASE	"/tmp"
#define BUFFER	65536
#define FDS	256

enum { RIGHT, WRONG, CANNOT };

enum {
	FIRST = -1,
	task_main,
	task_a,
	task_d,
	TASKS,
};

static const char *const tasks[] = {
	"main",
	"a",
	"d",
};

#define STEPS	11

/* A step, and what its call has come to. */
struct step {
	char text[160], result[1024], noted[1024];
	int task, begun, done, untold, waits, priority;
	long start;
	unsigned long missing;
};

/* What all processes share. */
static struct shared {
	int verdict;
	char why[4096], history[4096];
	struct step steps[STEPS];
	int pids[TASKS], ended[TASKS], signaled[TASKS], orders[TASKS];
	struct {
		dev_t dev;
		ino_t ino;
	} files[64];
	int latest, round, branches, armed;
	long shift;
	long long instant;
	/* The fds, and the events by the numbers of theirs. */
	int none, c, q, e, q2, e2;
} *v;

/* The step that this process makes. */
static int now;
/* Who this process is. */
static int me = FIRST;

/* The files as they are in the beginning. */
static const struct file {
	const char *name, *path;
	const void *bytes;
	int len, mode;
	const char *target;
} files[] = {
	{ "f0", "/tmp/t/f0", "refan f0\n", 9, 0666, NULL },
	{ NULL, NULL, NULL, 0, 0, NULL },
};

/* Now, in nanoseconds. */
static long long clock_ns(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static void sleep_ms(long ms)
{
	struct timespec time = { ms / 1000, ms % 1000 * 1000000 };

	while (nanosleep(&time, &time) && errno == EINTR)
		;
}

/* It cannot be tried here; says why. */
static void __attribute__((format(printf, 1, 2), noreturn)) cannot(const char *format, ...)
{
	va_list list;

	va_start(list, format);
	vsnprintf(v->why, sizeof(v->why), format, list);
	va_end(list);
	v->verdict = CANNOT;
	_exit(CANNOT);
}

/* The kernel is wrong; says why. */
static void __attribute__((format(printf, 1, 2), noreturn)) wrong(const char *format, ...)
{
	va_list list;

	va_start(list, format);
	vsnprintf(v->why, sizeof(v->why), format, list);
	va_end(list);
	v->verdict = WRONG;
	_exit(WRONG);
}

/* What a call returned, errors as -errno. */
static long sys(long ret)
{
	return ret < 0 ? -errno : ret;
}

/* The call of this step has come to this. */
static void __attribute__((format(printf, 1, 2))) done(const char *format, ...)
{
	va_list list;

	va_start(list, format);
	vsnprintf(v->steps[now].result, sizeof(v->steps[now].result), format, list);
	va_end(list);
	__atomic_store_n(&v->steps[now].done, 1, __ATOMIC_RELEASE);
}

static void done_value(long ret)
{
	if (ret < 0)
		done("%s", strerrorname_np(-ret));
	else
		done("%ld", ret);
}

/* Which number an fd has says nothing. */
static void done_fd(long ret, int *fd)
{
	if (ret >= 0 && fd)
		*fd = ret;
	if (ret < 0)
		done_value(ret);
	else
		done("fd");
}

/* Bytes as text; the end of long ones is left out. */
static void quote(char *text, const char *bytes, long len)
{
	long at;

	*text++ = '"';
	for (at = 0; at < len && at < 64; at++) {
		unsigned char byte = bytes[at];

		if (byte >= ' ' && byte < 127 && byte != '"' && byte != '\\')
			*text++ = byte;
		else
			text += sprintf(text, "\\x%02x", byte);
	}
	*text++ = '"';
	if (at < len)
		text += sprintf(text, " and more, %ld bytes", len);
	*text = 0;
}

static void done_bytes(long ret, const char *bytes)
{
	char text[400];

	if (ret <= 0) {
		done_value(ret);
		return;
	}
	quote(text, bytes, ret);
	done("%s", text);
}

/* The file that an fd is open on. */
static const char *file_of(int fd)
{
	struct stat stat;
	int i;

	if (fstat(fd, &stat))
		return "no file";
	for (i = 0; files[i].name; i++)
		if (v->files[i].dev == stat.st_dev && v->files[i].ino == stat.st_ino)
			return files[i].name;
	return "of another file";
}

static const char *task_of(int pid)
{
	static char text[32];
	int i;

	for (i = 0; i < TASKS; i++)
		if (pid && v->pids[i] == pid)
			return tasks[i];
	snprintf(text, sizeof(text), "pid %d", pid);
	return text;
}

/* What stands behind an event's metadata: a range, a pidfd. */
static char *describe_info(char *text, const struct fanotify_event_metadata *event)
{
	const char *info = (const char *)event + event->metadata_len;
	const char *end = (const char *)event + event->event_len;
	const struct fanotify_event_info_header *header;

	for (; info < end; info += header->len) {
		header = (const void *)info;
		if (header->len < sizeof(*header))
			break;
		if (header->info_type == FAN_EVENT_INFO_TYPE_PIDFD) {
			int pidfd;

			memcpy(&pidfd, info + 4, sizeof(pidfd));
			text += sprintf(text, pidfd >= 0 ? " pidfd" : " no pidfd");
		} else if (header->info_type == FAN_EVENT_INFO_TYPE_RANGE) {
			unsigned long long range[2];

			memcpy(range, info + 8, sizeof(range));
			text += sprintf(text, " range %llu+%llu", range[0], range[1]);
		}
	}
	return text;
}

/* An event: what, on which file, by whom. */
static char *describe(char *text, const struct fanotify_event_metadata *event)
{
	static const struct {
		unsigned long long bit;
		const char *name;
	} bits[] = {
		{ FAN_ACCESS, "ACCESS" },
		{ FAN_MODIFY, "MODIFY" },
		{ FAN_CLOSE_WRITE, "CLOSE_WRITE" },
		{ FAN_CLOSE_NOWRITE, "CLOSE_NOWRITE" },
		{ FAN_OPEN, "OPEN" },
		{ FAN_OPEN_EXEC, "OPEN_EXEC" },
		{ FAN_Q_OVERFLOW, "Q_OVERFLOW" },
		{ FAN_OPEN_PERM, "OPEN_PERM" },
		{ FAN_ACCESS_PERM, "ACCESS_PERM" },
		{ FAN_OPEN_EXEC_PERM, "OPEN_EXEC_PERM" },
		{ FAN_PRE_ACCESS, "PRE_ACCESS" },
		{ FAN_ONDIR, "ONDIR" },
	};
	const char *between = "";
	unsigned int i;

	for (i = 0; i < sizeof(bits) / sizeof(bits[0]); i++) {
		if (event->mask & bits[i].bit) {
			text += sprintf(text, "%s%s", between, bits[i].name);
			between = " | ";
		}
	}
	if (!*between)
		text += sprintf(text, "%#llx", (unsigned long long)event->mask);
	if (event->fd < 0)
		text += sprintf(text, " fd %s", strerrorname_np(-event->fd));
	else
		text += sprintf(text, " %s", file_of(event->fd));
	text += sprintf(text, " by %s", task_of(event->pid));
	return describe_info(text, event);
}

/* What was read from an fd: events of a queue or group, whose fds go where they are wanted, else bytes. */
static void done_reading(int fd, char *buffer, long ret, va_list fds)
{
	struct fanotify_event_metadata *event = (void *)buffer;
	char text[sizeof(v->steps[0].result)] = "";
	char *end = text;
	struct stat stat;
	long left = ret;

	if (ret <= 0 || (!fstat(fd, &stat) && (stat.st_mode & S_IFMT))) {
		done_bytes(ret, buffer);
		return;
	}
	for (; FAN_EVENT_OK(event, left); event = FAN_EVENT_NEXT(event, left)) {
		int *wanted = va_arg(fds, int *);

		if (end - text > (long)sizeof(text) - 200)
			break;
		if (end > text)
			end += sprintf(end, ", ");
		end = describe(end, event);
		if (!wanted)
			break;
		*wanted = event->fd;
	}
	/* Events that nobody has a name for. */
	while (FAN_EVENT_OK(event, left)) {
		event = FAN_EVENT_NEXT(event, left);
		if (!FAN_EVENT_OK(event, left) || end - text > (long)sizeof(text) - 200)
			break;
		end += sprintf(end, ", ");
		end = describe(end, event);
	}
	done("%s", text);
}

/* Reads up to size bytes. What events are read goes into the ints behind them, up to a NULL. */
static void read_from(int fd, int size, ...)
{
	static char buffer[BUFFER] __attribute__((aligned(8)));
	va_list fds;

	va_start(fds, size);
	done_reading(fd, buffer, sys(read(fd, buffer, size)), fds);
	va_end(fds);
}

/* A new process; it is the first one's child whoever makes it, and does not outlive that. */
static int new_process(int task)
{
	int flags = SIGCHLD | (me == FIRST ? 0 : CLONE_PARENT);
	int pid = syscall(SYS_clone, flags, 0, 0, 0, 0);

	if (pid < 0)
		cannot("no process can be made: %s", strerror(errno));
	if (pid) {
		v->pids[task] = pid;
		return 0;
	}
	me = task;
	v->pids[task] = getpid();
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	return 1;
}

/* Makes a task for one call. Returns true in it; it has just those fds that are named. */
static int spawned(int task, int count, ...)
{
	int keep[2] = { -1, -1 }, i;
	va_list list;

	va_start(list, count);
	for (i = 0; i < count; i++)
		keep[i] = va_arg(list, int);
	va_end(list);
	if (!new_process(task))
		return 0;
	/* An fd of a queue that stays open here would keep the queue open. */
	for (i = 0; i < FDS; i++)
		if (i != keep[0] && i != keep[1])
			close(i);
	return 1;
}

/* Lets a task make the call of a step. */
static void order(int task, int step)
{
	while (__atomic_load_n(&v->orders[task], __ATOMIC_ACQUIRE))
		sleep_ms(1);
	__atomic_store_n(&v->orders[task], step, __ATOMIC_RELEASE);
}

/* Takes note of the tasks that have ended. */
static void reap(void)
{
	int i, pid, status;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		for (i = 0; i < TASKS && v->pids[i] != pid; i++)
			;
		if (i == TASKS)
			continue;
		v->ended[i] = 1;
		v->signaled[i] = WIFSIGNALED(status);
		if (!v->signaled[i] && WEXITSTATUS(status) == CANNOT)
			_exit(CANNOT);
	}
}

/* The step that this task is to make next. */
static int next_order(void)
{
	int step;

	while (!(step = __atomic_load_n(&v->orders[me], __ATOMIC_ACQUIRE)))
		sleep_ms(1);
	__atomic_store_n(&v->orders[me], 0, __ATOMIC_RELEASE);
	now = step;
	return step;
}

/* A step whose call is none of a task's, or comes to nothing that is told. */
static void next(int step, const char *text)
{
	snprintf(v->steps[step].text, sizeof(v->steps[step].text), "%s", text);
	v->latest = step;
}

/* A step: the call of a task. */
static void begin(int step, int task, const char *text)
{
	struct step *this = &v->steps[step];

	this->task = task;
	this->done = 0;
	snprintf(this->text, sizeof(this->text), "%s", text);
	this->begun = 1;
	v->latest = step;
	now = step;
}

/* Reads a file of a task below /proc. */
static int read_proc(int task, const char *name, char *text, int size)
{
	char path[64];
	int file, len;

	snprintf(path, sizeof(path), "/proc/%d/%s", v->pids[task], name);
	file = open(path, O_RDONLY);
	if (file < 0)
		return -1;
	len = read(file, text, size - 1);
	close(file);
	text[len < 0 ? 0 : len] = 0;
	return len;
}

/* How often a task that sleeps has left its processor; -1 if it does not sleep in a call. */
static long switches_asleep(int task)
{
	char text[4096], *state, *voluntary, *forced;

	if (read_proc(task, "syscall", text, sizeof(text)) < 0 || !strncmp(text, "running", 7))
		return -1;
	if (read_proc(task, "status", text, sizeof(text)) < 0)
		return -1;
	state = strstr(text, "\nState:");
	voluntary = strstr(text, "\nvoluntary_ctxt_switches:");
	forced = strstr(text, "\nnonvoluntary_ctxt_switches:");
	if (!state || !voluntary || !forced || !strchr("SD", state[8]))
		return -1;
	return atol(voluntary + 25) + atol(forced + 28);
}

/* What the call of a step has come to; NULL while it moves. */
static const char *status_of(int step)
{
	struct step *this = &v->steps[step];
	long before;

	if (__atomic_load_n(&this->done, __ATOMIC_ACQUIRE))
		return this->result;
	if (!v->pids[this->task])
		return NULL;
	if (v->ended[this->task])
		return v->signaled[this->task] ? "killed" : "0";
	if (__atomic_load_n(&this->waits, __ATOMIC_ACQUIRE))
		return NULL;
	before = switches_asleep(this->task);
	if (before < 0)
		return NULL;
	sleep_ms(10);
	reap();
	if (v->ended[this->task] || switches_asleep(this->task) != before)
		return NULL;
	return __atomic_load_n(&this->done, __ATOMIC_ACQUIRE) ? NULL : "blocked";
}

/* The call of the step must come to this. */
static void expect(int step, const char *wanted)
{
	long long limit = clock_ns() + 5 * 1000000000LL;
	const char *is;

	for (;;) {
		reap();
		is = status_of(step);
		if (is && !strcmp(is, wanted))
			return;
		if ((is && strcmp(is, "blocked")) || clock_ns() > limit)
			break;
		sleep_ms(1);
	}
	wrong("step %d, `%s`, after step %d: %s, where it has to be: %s", step, v->steps[step].text,
	      v->latest, is ? is : "it does not come to rest", wanted);
}

/* Waits a while for the end of a task. */
static int ends(int task)
{
	long long limit = clock_ns() + 2 * 1000000000LL;

	while (!v->ended[task] && clock_ns() < limit) {
		reap();
		sleep_ms(1);
	}
	return v->ended[task];
}

/* Whatever still runs or sleeps has to die. */
static void kill_all(void)
{
	int i;

	for (i = 0; i < TASKS; i++)
		if (v->pids[i] && v->pids[i] != getpid() && !v->ended[i])
			kill(v->pids[i], SIGKILL);
	for (i = 0; i < TASKS; i++)
		if (v->pids[i] && v->pids[i] != getpid() && !ends(i) && !ends(i))
			wrong("%s was killed and does not end", tasks[i]);
}

static void write_file(const char *path, const void *bytes, int len, int mode)
{
	int file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666);

	if (file < 0 || write(file, bytes, len) != len || fchmod(file, mode) || close(file))
		cannot("%s cannot be written: %s", path, strerror(errno));
}

/* Makes the files as they are in the beginning. */
static void make_files(void)
{
	struct stat stat;
	int i;

	for (i = 0; files[i].name; i++) {
		const struct file *file = &files[i];

		if (file->target) {
			unlink(file->path);
			if (symlink(file->target, file->path))
				cannot("%s cannot be made: %s", file->path, strerror(errno));
		} else if (file->bytes) {
			write_file(file->path, file->bytes, file->len, file->mode);
		} else if ((mkdir(file->path, 0777) && errno != EEXIST) ||
			   chmod(file->path, 0777)) {
			cannot("%s cannot be made: %s", file->path, strerror(errno));
		}
		if (lstat(file->path, &stat))
			cannot("%s is not there: %s", file->path, strerror(errno));
		v->files[i].dev = stat.st_dev;
		v->files[i].ino = stat.st_ino;
	}
}

static void mount_on(const char *what, const char *at, const char *type, unsigned long flags)
{
	if ((mkdir(at, 0755) && errno != EEXIST) || mount(what, at, type, flags, NULL))
		cannot("%s cannot be mounted on %s: %s", what, at, strerror(errno));
}

/* Takes a file system down; who still uses it must be gone. */
static void unmount(const char *at)
{
	long long limit = clock_ns() + 10 * 1000000000LL;

	while (umount(at)) {
		if (errno != EBUSY || clock_ns() > limit)
			wrong("when all tasks have ended %s is still in use: %s", at, strerror(errno));
		sleep_ms(10);
	}
}

/* Waits for the end of a round; one that hangs is ended. */
static void await_round(int pid)
{
	long long limit = clock_ns() + 60 * 1000000000LL;
	int status;

	while (!waitpid(pid, &status, WNOHANG)) {
		if (clock_ns() > limit) {
			v->verdict = WRONG;
			snprintf(v->why, sizeof(v->why), "step %d, `%s`, does not come to an end",
				 v->latest, v->steps[v->latest].text);
			kill(pid, SIGKILL);
			return;
		}
		sleep_ms(1);
	}
	if (!v->verdict && (!WIFEXITED(status) || WEXITSTATUS(status))) {
		v->verdict = CANNOT;
		snprintf(v->why, sizeof(v->why), "the first process has ended too early, status %#x",
			 status);
	}
}

/* The calls of tasks that make more than one: each when its turn has come. */
static void __attribute__((noreturn)) serve(void)
{
	for (;;) {
		switch (next_order()) {
		case 7:
			done_value(sys(close(v->q)));
			break;
		}
	}
}

/* What happens, step by step. */
static void story(void)
{
	v->pids[task_main] = getpid();

	/* main makes a group of restartable permission events. */
	begin(1, task_main, "c = fanotify_init(CLASS_CONTENT | RESTARTABLE, O_RDONLY)");
	done_fd(sys(fanotify_init(FAN_CLASS_CONTENT | FAN_RESTARTABLE_EVENTS, O_RDONLY)), &v->c);
	expect(1, "fd");

	/* main puts a mark, by f0. */
	begin(2, task_main, "fanotify_mark(c, ADD, OPEN_PERM, f0)");
	done_value(sys(fanotify_mark(v->c, FAN_MARK_ADD, FAN_OPEN_PERM, AT_FDCWD, PATH_F0)));
	expect(2, "0");

	/* main opens the group's queue. */
	begin(3, task_main, "q = open_queue(c)");
	done_fd(sys(ioctl(v->c, FAN_IOC_OPEN_QUEUE_FD, 0)), &v->q);
	expect(3, "fd");

	/* a opens f0. */
	begin(4, task_a, "a = spawn open(f0, O_RDONLY)");
	if (spawned(task_a, 0)) {
		done_fd(sys(open(PATH_F0, O_RDONLY, 0666)), NULL);
		_exit(0);
	}
	expect(4, "blocked");

	/* main reads. */
	begin(5, task_main, "e = read(q)");
	read_from(v->q, 4096, &v->e, NULL);
	expect(5, "OPEN_PERM f0 by a");

	/* main forks. */
	next(6, "d = fork()");
	if (new_process(task_d))
		serve();

	/* d closes its fd. */
	begin(7, task_d, "d: close(q)");
	order(task_d, 7);
	expect(7, "0");
	expect(4, "blocked");

	/* main closes its fd. */
	begin(8, task_main, "close(q)");
	done_value(sys(close(v->q)));
	expect(8, "0");
	expect(4, "blocked");

	/* main opens the group's queue. */
	begin(9, task_main, "q2 = open_queue(c)");
	done_fd(sys(ioctl(v->c, FAN_IOC_OPEN_QUEUE_FD, 0)), &v->q2);
	expect(9, "fd");
	expect(4, "blocked");

	/*
	 * main reads.
	 * Here the kernel goes wrong.
	 */
	begin(10, task_main, "e2 = read(q2)");
	read_from(v->q2, 4096, &v->e2, NULL);
	expect(10, "OPEN_PERM f0 by a");
	expect(4, "blocked");

	kill_all();
}

/* File systems that nobody else sees, and signals. */
static void set_up(void)
{
	int group = fanotify_init(FAN_CLASS_CONTENT | FAN_RESTARTABLE_EVENTS, O_RDONLY);

	if (geteuid())
		cannot("it has to be run by root");
	if (group < 0)
		cannot("this kernel has no restartable permission events: %s",
		       strerror(errno));
	close(group);
	if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL))
		cannot("no mounts can be made: %s", strerror(errno));
	mount_on("none", BASE, "tmpfs", 0);
	mount_on("none", AT_T, "tmpfs", 0);
}

/* One round in processes of its own. */
static void make_round(void)
{
	int pid;

	/* An fd that nothing was opened by is -1. */
	memset(&v->none, -1, sizeof(*v) - offsetof(struct shared, none));
	make_files();
	pid = fork();
	if (!pid) {
		story();
		_exit(0);
	}
	await_round(pid);
}

/* All of it; returns RIGHT, WRONG or CANNOT. */
static int run(void)
{
	int round, pid, status;

	v = mmap(NULL, sizeof(*v), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (v == MAP_FAILED)
		return CANNOT;
	/* A process of its own, whose end is the end of what it has mounted. */
	pid = fork();
	if (pid) {
		waitpid(pid, &status, 0);
		if (!v->verdict && (!WIFEXITED(status) || WEXITSTATUS(status)))
			return CANNOT;
		return v->verdict;
	}
	set_up();
	for (round = 0; round < 1 && !v->verdict; round++) {
		struct shared empty = { .round = round };

		*v = empty;
		make_round();
	}
	if (v->verdict)
		_exit(v->verdict);
	unmount(AT_T);
	_exit(RIGHT);
}

TEST(what_was_pending_is_pending_again_in_its_order)
{
	int verdict = run();

	if (verdict == CANNOT)
		SKIP(return, "%.1000s", v->why);
	ASSERT_EQ(RIGHT, verdict) {
		TH_LOG("%s", v->why);
	}
}

TEST_HARNESS_MAIN
