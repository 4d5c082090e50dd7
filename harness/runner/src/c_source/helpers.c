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

/* Any success is as good as another. */
static void done_any(long ret)
{
	if (ret < 0)
		done_value(ret);
	else
		done("ok");
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

/* So many bytes, behind which is no memory. */
static char *ending_memory(int good)
{
	int mapped = (good + 4095) / 4096 * 4096;
	char *memory = mmap(NULL, mapped + 4096, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED || munmap(memory + mapped, 4096))
		cannot("no memory");
	return memory + mapped - good;
}

/* The same into a buffer of which only the first bytes are there. */
static void read_fault(int fd, int size, int good, ...)
{
	char *buffer = ending_memory(good < size ? good : size);
	va_list fds;

	va_start(fds, good);
	done_reading(fd, buffer, sys(read(fd, buffer, size)), fds);
	va_end(fds);
}

/*
 * The same into a buffer whose pages are missing behind the first bytes: the reader sleeps there, with
 * its event in transit, until somebody lets them in.
 */
static void read_missing(int fd, int size, int good, ...)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register range = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	char *memory = mmap(NULL, 2 * BUFFER, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int pager = syscall(SYS_userfaultfd, O_CLOEXEC);
	va_list fds;

	range.range.start = (unsigned long)memory + BUFFER;
	range.range.len = BUFFER;
	if (memory == MAP_FAILED || pager < 0 || dup2(pager, PAGER) < 0 || close(pager) ||
	    ioctl(PAGER, UFFDIO_API, &api) || ioctl(PAGER, UFFDIO_REGISTER, &range))
		cannot("userfaultfd does not work here");
	v->steps[now].missing = range.range.start;
	memory += BUFFER - good;
	va_start(fds, good);
	done_reading(fd, memory, sys(read(fd, memory, size)), fds);
	va_end(fds);
}

/* Lets in what the reader of that step sleeps for. */
static void page_in(int step)
{
	struct uffdio_zeropage range = { .range = { v->steps[step].missing, BUFFER } };
	int pidfd, pager, ret;

	if (!v->steps[step].missing) {
		done_value(0);
		return;
	}
	pidfd = syscall(SYS_pidfd_open, v->pids[v->steps[step].task], 0);
	pager = syscall(SYS_pidfd_getfd, pidfd, PAGER, 0);
	ret = sys(ioctl(pager, UFFDIO_ZEROPAGE, &range));
	close(pager);
	close(pidfd);
	done_value(ret == -EEXIST ? 0 : ret);
}

/* Answers an event with so many bytes. */
static long respond(int fd, int event, unsigned int response, int size)
{
	struct {
		struct fanotify_response response;
		/* struct fanotify_response_info_audit_rule */
		unsigned char type, pad;
		unsigned short len;
		unsigned int rule[3];
		char zeros[BUFFER];
	} bytes = { .response = { event, response }, .type = 1, .len = 16 };

	if (!(response & FAN_INFO)) {
		bytes.type = 0;
		bytes.len = 0;
	}
	return sys(write(fd, &bytes, size));
}

/* The same from memory that ends before it. */
static long respond_fault(int fd, int event, unsigned int response, int size, int good)
{
	struct {
		struct fanotify_response response;
		unsigned char type, pad;
		unsigned short len;
		unsigned int rule[3];
	} bytes = { .response = { event, response }, .type = 1, .len = 16 };
	char *memory = ending_memory(good < size ? good : size);

	memcpy(memory, &bytes, good < size ? good : size);
	return sys(write(fd, memory, size));
}

static void pread_from(int fd, int size)
{
	static char buffer[BUFFER];

	done_bytes(sys(pread(fd, buffer, size, 0)), buffer);
}

/* Maps a file and looks at what it holds there. */
static void map_and_look(int fd, int size)
{
	struct stat stat;
	char *memory = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
	long held;

	if (memory == MAP_FAILED) {
		done_value(-errno);
		return;
	}
	held = fstat(fd, &stat) || stat.st_size > size ? size : stat.st_size;
	done_bytes(held, memory);
	munmap(memory, size);
}

static long read_directory(int fd)
{
	static char buffer[4096];
	long ret = sys(syscall(SYS_getdents64, fd, buffer, sizeof(buffer)));

	return ret < 0 ? ret : 0;
}

/* A copy of another task's fd. */
static long take_fd(int task, int fd)
{
	long pidfd, got;

	if (!v->pids[task])
		return -ESRCH;
	pidfd = sys(syscall(SYS_pidfd_open, v->pids[task], 0));
	if (pidfd < 0)
		return pidfd;
	got = sys(syscall(SYS_pidfd_getfd, pidfd, fd, 0));
	if (got < 0) {
		close(pidfd);
		return got;
	}
	dup3(got, pidfd, O_CLOEXEC);
	close(got);
	return pidfd;
}

/* A datagram socket that is connected to itself: it holds what is sent. */
static long socket_to_itself(void)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	socklen_t len = sizeof(name.sun_family);
	long fd = sys(socket(AF_UNIX, SOCK_DGRAM, 0));

	if (fd == -EAFNOSUPPORT || fd == -ENOSYS)
		cannot("this kernel has no sockets of this kind");
	if (fd < 0)
		return fd;
	if (bind(fd, (void *)&name, len))
		cannot("the socket gets no name");
	len = sizeof(name);
	if (getsockname(fd, (void *)&name, &len) || connect(fd, (void *)&name, len))
		cannot("the socket is not connected to itself");
	return fd;
}

static void rights(struct msghdr *message, struct iovec *data, void *control, int size)
{
	static char byte;

	data->iov_base = &byte;
	data->iov_len = 1;
	memset(message, 0, sizeof(*message));
	message->msg_iov = data;
	message->msg_iovlen = 1;
	message->msg_control = control;
	message->msg_controllen = size;
}

static long send_fd(int socket, int fd)
{
	char control[CMSG_SPACE(sizeof(fd))] __attribute__((aligned(8))) = "";
	struct msghdr message;
	struct cmsghdr *header;
	struct iovec data;
	long ret;

	rights(&message, &data, control, sizeof(control));
	header = CMSG_FIRSTHDR(&message);
	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(fd));
	memcpy(CMSG_DATA(header), &fd, sizeof(fd));
	ret = sys(sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL));
	return ret < 0 ? ret : 0;
}

static long receive_fd(int socket)
{
	char control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8))) = "";
	struct msghdr message;
	struct cmsghdr *header;
	struct iovec data;
	long ret;
	int fd;

	rights(&message, &data, control, sizeof(control));
	ret = sys(recvmsg(socket, &message, MSG_DONTWAIT));
	if (ret < 0)
		return ret;
	header = CMSG_FIRSTHDR(&message);
	if (!header || header->cmsg_len != CMSG_LEN(sizeof(fd)))
		return -EMFILE;
	memcpy(&fd, CMSG_DATA(header), sizeof(fd));
	return fd;
}

/* What select() reports, as poll() has it. */
static long select_now(int fd)
{
	struct timeval time = { 0, 0 };
	fd_set in, out, pri;
	long ret;

	if (fd < 0 || fd >= FD_SETSIZE)
		return -EBADF;
	FD_ZERO(&in);
	FD_ZERO(&out);
	FD_ZERO(&pri);
	FD_SET(fd, &in);
	FD_SET(fd, &out);
	FD_SET(fd, &pri);
	ret = sys(select(fd + 1, &in, &out, &pri, &time));
	if (ret <= 0)
		return ret;
	return (FD_ISSET(fd, &in) ? POLLIN : 0) | (FD_ISSET(fd, &out) ? POLLOUT : 0) |
	       (FD_ISSET(fd, &pri) ? POLLPRI : 0);
}

static long poll_now(int fd)
{
	struct pollfd asked = {
		fd, POLLIN | POLLPRI | POLLOUT | POLLRDNORM | POLLWRNORM | POLLRDHUP, 0
	};
	long ret = sys(poll(&asked, 1, 0));

	return ret < 0 ? ret : asked.revents;
}

/* Adds it to an epoll instance, which is then closed. */
static long epoll_add(int fd)
{
	struct epoll_event event = { .events = EPOLLIN };
	long ret, epoll = sys(epoll_create1(0));

	if (epoll < 0)
		return epoll;
	ret = sys(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
	close(epoll);
	return ret;
}

static long bytes_unread(int fd)
{
	int bytes = 0;
	long ret = sys(ioctl(fd, FIONREAD, &bytes));

	return ret < 0 ? ret : bytes;
}

/* The access mode and flags that the caller has set; the kernel adds O_LARGEFILE by itself. */
static long status_flags(int fd)
{
	long ret = sys(fcntl(fd, F_GETFL));

	return ret < 0 ? ret : ret & SHOWN_FLAGS;
}

static void read_link(int fd)
{
	char path[64], name[256], text[1100];
	long len;
	int i;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	len = sys(readlink(path, name, sizeof(name)));
	if (len < 0) {
		done_value(len);
		return;
	}
	/* Where everything is says nothing. */
	i = len > (long)strlen(BASE) && !strncmp(name, BASE "/", strlen(BASE "/")) ? strlen(BASE) : 0;
	quote(text, name + i, len - i);
	done("%s", text);
}

static int by_text(const void *one, const void *other)
{
	return strcmp(*(char *const *)one, *(char *const *)other);
}

/* The value behind a name in a line of fdinfo differs from run to run. */
static void hide(char *line, const char *name)
{
	char *value = strstr(line, name), *end;

	if (!value)
		return;
	value += strlen(name);
	end = value + strcspn(value, " ");
	*value++ = '*';
	memmove(value, end, strlen(end) + 1);
}

/* The lines of fdinfo that begin with "fanotify", sorted, up to the file handles in them. */
static void fdinfo(int fd)
{
	static char buffer[8192];
	char *lines[64], *line, *end, *rest = buffer;
	char text[sizeof(v->steps[0].result) - 3] = "";
	int i, count = 0, file;
	long len;

	snprintf(buffer, sizeof(buffer), "/proc/self/fdinfo/%d", fd);
	file = open(buffer, O_RDONLY);
	if (file < 0) {
		done_value(-errno);
		return;
	}
	len = read(file, buffer, sizeof(buffer) - 1);
	close(file);
	buffer[len < 0 ? 0 : len] = 0;
	while ((line = strsep(&rest, "\n")) && count < 64) {
		if (strncmp(line, "fanotify", 8))
			continue;
		hide(line, " ino:");
		hide(line, " sdev:");
		hide(line, " mnt_id:");
		end = strstr(line, " fhandle-bytes:");
		if (end)
			*end = 0;
		lines[count++] = line;
	}
	qsort(lines, count, sizeof(*lines), by_text);
	for (i = 0; i < count; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s", i ? "; " : "",
			 lines[i]);
	done("\"%s\"", text);
}

static long reopen(int fd, int flags)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return sys(open(path, flags, 0666));
}

/* Becomes another program; returns only on failure. */
static long exec(const char *path)
{
	char *const arguments[] = { (char *)path, NULL };
	char *const environment[] = { NULL };

	return sys(execve(path, arguments, environment));
}

/* The ioctl as a 32-bit task makes it. */
static long ioctl32(int fd, unsigned int request)
{
	int ret;

	asm volatile("int $0x80"
		     : "=a"(ret)
		     : "a"(54), "b"(fd), "c"(request), "d"(0)
		     : "memory", "r8", "r9", "r10", "r11");
	return ret;
}

/* Whether there are 32-bit tasks here: where not, such a call is a fault. */
static void try_32_bit_calls(void)
{
	int status, pid = fork();

	if (!pid) {
		ioctl32(-1, 0);
		_exit(0);
	}
	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		cannot("this kernel takes no calls of 32-bit tasks");
}

static long set_sysctl(const char *name, unsigned int value)
{
	char path[96], text[16];
	long ret;
	int file;

	snprintf(path, sizeof(path), "/proc/sys/fs/fanotify/%s", name);
	snprintf(text, sizeof(text), "%u", value);
	file = open(path, O_WRONLY);
	if (file < 0)
		return -errno;
	ret = sys(write(file, text, strlen(text)));
	close(file);
	return ret < 0 ? ret : 0;
}

/* What the limits were before that are changed. */
static char limits[LIMITS][32];

static void save_limits(void)
{
	char path[96];
	int i, file;

	for (i = 0; i < LIMITS; i++) {
		snprintf(path, sizeof(path), "/proc/sys/fs/fanotify/%s", limit_names[i]);
		file = open(path, O_RDONLY);
		if (file < 0 || read(file, limits[i], sizeof(limits[i]) - 1) < 0)
			cannot("%s cannot be read: %s", path, strerror(errno));
		close(file);
	}
}

static void restore_limits(void)
{
	int i;

	for (i = 0; i < LIMITS; i++)
		set_sysctl(limit_names[i], strtoul(limits[i], NULL, 10));
}

/* RLIMIT_NOFILE to what is open and so many more. */
static long limit_fds(int more)
{
	struct rlimit limit;
	int number;

	for (number = 0; fcntl(number, F_GETFD) >= 0 || more-- > 0; number++)
		;
	limit.rlim_cur = number;
	limit.rlim_max = number;
	return sys(setrlimit(RLIMIT_NOFILE, &limit));
}

static void ignore(int signal)
{
	(void)signal;
}

/* Two signals with a handler that does nothing: one interrupts calls, after the other they go on. */
static void handle_signals(void)
{
	struct sigaction action = { .sa_handler = ignore };

	sigaction(SIGUSR1, &action, NULL);
	action.sa_flags = SA_RESTART;
	sigaction(SIGUSR2, &action, NULL);
}

static long send_signal(int task, int signal)
{
	long ret = v->pids[task] ? sys(kill(v->pids[task], signal)) : 0;

	return ret == -ESRCH ? 0 : ret;
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

static void close_all(void)
{
	int i;

	for (i = 0; i < FDS; i++)
		close(i);
}

/* Lets a task make the call of a step. */
static void order(int task, int step)
{
	while (__atomic_load_n(&v->orders[task], __ATOMIC_ACQUIRE))
		sleep_ms(1);
	__atomic_store_n(&v->orders[task], step, __ATOMIC_RELEASE);
}

/* Waits until a task is there. */
static void await_birth(int task)
{
	while (!__atomic_load_n(&v->pids[task], __ATOMIC_ACQUIRE))
		sleep_ms(1);
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

/* Whether a task is there and its calls are over. */
static int ready(int task)
{
	int step;

	reap();
	if (!v->pids[task] || v->ended[task])
		return 0;
	for (step = 1; step < STEPS; step++)
		if (v->steps[step].begun && v->steps[step].task == task &&
		    !v->steps[step].done && !v->steps[step].untold)
			return 0;
	return 1;
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

/* Writes down what the calls up to a step have come to, where they have come to something else. */
static void note(int last)
{
	long long limit = clock_ns() + 5 * 1000000000LL;
	char *end = v->history + strlen(v->history);
	int step;

	for (step = 1; step <= last; step++) {
		struct step *this = &v->steps[step];
		const char *is;

		if (!this->begun || this->untold)
			continue;
		do {
			reap();
			is = status_of(step);
			if (!is)
				sleep_ms(1);
		} while (!is && clock_ns() < limit);
		if (!is)
			is = "it does not come to rest";
		if (!strcmp(this->noted, is))
			continue;
		snprintf(this->noted, sizeof(this->noted), "%s", is);
		end += snprintf(end, v->history + sizeof(v->history) - end, "%s%d: %s",
				end > v->history ? "; " : "", step, is);
		if (end > v->history + sizeof(v->history) - 1)
			end = v->history + sizeof(v->history) - 1;
	}
}

/* From here on it is written down what calls come to. */
static void forget(int last)
{
	note(last);
	v->history[0] = 0;
}

/* Whether all that was noted can have happened. */
static void judge(void)
{
	unsigned int i;

	for (i = 0; i < sizeof(allowed) / sizeof(allowed[0]); i++)
		if (!strcmp(v->history, allowed[i]))
			return;
	wrong("in round %d the steps have come to `%s`, which is none of the ways that are allowed",
	      v->round, v->history);
}

/* A call that begins so many ns after the others; -1: with them. It preempts what runs then. */
static void begin_at(int step, int task, const char *text, long ns, int priority)
{
	begin(step, task, text);
	v->steps[step].waits = 1;
	v->steps[step].start = ns < 0 ? -1 : ns + v->shift > 0 ? ns + v->shift : 0;
	v->steps[step].priority = priority;
	v->branches++;
}

/* A call that the same task makes behind the one that it begins with. */
static void later(int step, int task, const char *text)
{
	begin(step, task, text);
	v->steps[step].begun = 0;
}

/* Waits for the instant at which calls begin together. */
static void wait_for_start(void)
{
	struct step *this = &v->steps[now];
	struct sched_param param = { .sched_priority = 1 + this->priority };
	long long instant;
	struct timespec time;
	cpu_set_t first;

	CPU_ZERO(&first);
	CPU_SET(0, &first);
	/* On one processor the later one preempts the other; on several they run beside each other. */
	if (v->round % 2 == 0)
		sched_setaffinity(0, sizeof(first), &first);
	sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &param);
	__atomic_add_fetch(&v->armed, 1, __ATOMIC_ACQ_REL);
	while (!(instant = __atomic_load_n(&v->instant, __ATOMIC_ACQUIRE)))
		sleep_ms(1);
	instant += this->start < 0 ? -1000000 : this->start;
	time.tv_sec = instant / 1000000000;
	time.tv_nsec = instant % 1000000000;
	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL);
	__atomic_store_n(&this->waits, 0, __ATOMIC_RELEASE);
	while (clock_ns() < v->instant)
		;
}

/* The next call of the same branch, unless everything has come to rest before. */
static int goes_on(int step)
{
	if (!__atomic_load_n(&v->instant, __ATOMIC_ACQUIRE))
		return 0;
	now = step;
	v->steps[step].begun = 1;
	return 1;
}

/* Lets the calls begin that wait for it. */
static void go(int last)
{
	struct sched_param param = { .sched_priority = 0 };
	int i;

	while (__atomic_load_n(&v->armed, __ATOMIC_ACQUIRE) < v->branches) {
		reap();
		sleep_ms(1);
	}
	__atomic_store_n(&v->instant, clock_ns() + 5000000, __ATOMIC_RELEASE);
	sleep_ms(8);
	note(last);
	__atomic_store_n(&v->instant, 0, __ATOMIC_RELEASE);
	v->armed = 0;
	v->branches = 0;
	for (i = 0; i < TASKS; i++)
		if (v->pids[i] && !v->ended[i])
			sched_setscheduler(v->pids[i], SCHED_OTHER, &param);
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

static void kill_task(int task)
{
	if (!v->pids[task] || v->ended[task])
		return;
	kill(v->pids[task], SIGKILL);
	ends(task);
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

/* Writes the ext4 on a device. */
static int write_image(const char *path)
{
	static const char zeros[IMAGE_BYTES];
	int disk = open(path, O_RDWR | O_CREAT, 0600);
	unsigned int i;

	if (disk < 0 || write(disk, zeros, sizeof(zeros)) != sizeof(zeros))
		cannot("%s cannot be written: %s", path, strerror(errno));
	for (i = 0; i < sizeof(image) / sizeof(image[0]); i++)
		if (pwrite(disk, image[i].bytes, 16, image[i].at) != 16)
			cannot("%s cannot be written: %s", path, strerror(errno));
	return disk;
}

/* A device with an ext4: a loop device, or where there is none a RAM disk. */
static const char *ext4_device(void)
{
	static char path[32] = "/dev/ram0";
	int control = open("/dev/loop-control", O_RDWR);
	int number = control < 0 ? -1 : ioctl(control, LOOP_CTL_GET_FREE);
	int disk, loop;

	if (number < 0) {
		if (access(path, W_OK))
			cannot("there is neither a loop device nor %s", path);
		close(write_image(path));
		return path;
	}
	snprintf(path, sizeof(path), "/dev/loop%d", number);
	disk = write_image(BASE "/ext4.img");
	loop = open(path, O_RDWR);
	if (loop < 0 || ioctl(loop, LOOP_SET_FD, disk))
		cannot("%s cannot be set up: %s", path, strerror(errno));
	/* It goes with its last use. */
	ioctl(loop, LOOP_SET_STATUS64, &(struct loop_info64){ .lo_flags = LO_FLAGS_AUTOCLEAR });
	return path;
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

/* How many groups root can still make. */
static int groups_left(void)
{
	static int fds[4096];
	int i, count = 0;

	while (count < 4096 && (fds[count] = fanotify_init(FAN_CLASS_NOTIF, O_RDONLY)) >= 0)
		count++;
	for (i = 0; i < count; i++)
		close(fds[i]);
	return count;
}

/* How many files are open, of everyone. */
static long files_open(void)
{
	char text[64] = "";
	int file = open("/proc/sys/fs/file-nr", O_RDONLY);

	if (file >= 0) {
		if (read(file, text, sizeof(text) - 1) < 0)
			text[0] = 0;
		close(file);
	}
	return atol(text);
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
