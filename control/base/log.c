/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/base/log.h"

#include "control/base/journal.h"
#include "control/base/threads.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_LEN 1024
#define CRASH_MS 1000 /* how long a crash waits for the writer */

static const char *const level_text[] = {"error", "warning", "info", "debug"};
static _Atomic int log_level = LOG_INFO;

int
log_level_from_text(const char *text)
{
	for (unsigned i = 0; i < sizeof(level_text) / sizeof(level_text[0]); i++) {
		if (strcmp(text, level_text[i]) == 0)
			return (int)i;
	}
	return -1;
}

void
log_set_level(enum log_level level)
{
	atomic_store_explicit(&log_level, (int)level, memory_order_relaxed);
}

const char *
log_level_name(void)
{
	return level_text[atomic_load_explicit(&log_level, memory_order_relaxed)];
}

/*
 * True if this line may be written. *dropped: lines suppressed in an earlier second, to be
 * reported.
 */
static bool
site_allows(struct log_site *site, long second, unsigned *dropped)
{
	*dropped = 0;
	if (site->second != second) {
		*dropped = site->dropped;
		*site = (struct log_site){.second = second};
	}
	if (site->count >= LOG_BURST) {
		site->dropped++;
		return false;
	}
	site->count++;
	return true;
}

/* ---- the ring ---- */

/*
 * A bounded queue of numbered lines, with many producers and one consumer (the writer). turn[i] is
 * N while slot i is free for line N, and N + 1 when line N is complete.
 */
static struct {
	_Atomic uint32_t turn[LOG_LINES_MAX];
	/* producers: number of the next line */
	alignas(CACHE_LINE) _Atomic uint32_t tail;
	/* writer: number of the oldest line */
	alignas(CACHE_LINE) _Atomic uint32_t head;
	uint16_t len[LOG_LINES_MAX];
	char line[LOG_LINES_MAX][LINE_MAX_LEN];
} ring;

/* False: the ring is full. */
static bool
ring_push(const char *line, unsigned len)
{
	uint32_t at = atomic_load_explicit(&ring.tail, memory_order_relaxed);

	for (;;) {
		/* acquire: pairs with the release in ring_pop */
		uint32_t turn =
			atomic_load_explicit(&ring.turn[at % LOG_LINES_MAX], memory_order_acquire);

		if (turn == at) {
			if (atomic_compare_exchange_weak_explicit(&ring.tail, &at, at + 1,
				    memory_order_relaxed, memory_order_relaxed))
				break;
		} else if ((int32_t)(turn - at) < 0) {
			return false;
		} else {
			at = atomic_load_explicit(&ring.tail, memory_order_relaxed);
		}
	}
	memcpy(ring.line[at % LOG_LINES_MAX], line, len);
	ring.len[at % LOG_LINES_MAX] = (uint16_t)len;
	/* release: pairs with the acquire in ring_peek */
	atomic_store_explicit(&ring.turn[at % LOG_LINES_MAX], at + 1, memory_order_release);
	return true;
}

/* The oldest line, valid until ring_pop(); NULL when the ring is empty. Writer only. */
static const char *
ring_peek(unsigned *len)
{
	uint32_t at = atomic_load_explicit(&ring.head, memory_order_relaxed);

	/* acquire: pairs with the release in ring_push */
	if (atomic_load_explicit(&ring.turn[at % LOG_LINES_MAX], memory_order_acquire) != at + 1)
		return NULL;
	*len = ring.len[at % LOG_LINES_MAX];
	return ring.line[at % LOG_LINES_MAX];
}

static void
ring_pop(void)
{
	uint32_t at = atomic_load_explicit(&ring.head, memory_order_relaxed);

	/* release: pairs with the acquire in ring_push */
	atomic_store_explicit(
		&ring.turn[at % LOG_LINES_MAX], at + LOG_LINES_MAX, memory_order_release);
	atomic_store_explicit(&ring.head, at + 1, memory_order_relaxed);
}

static unsigned
ring_waiting(void)
{
	uint32_t head = atomic_load_explicit(&ring.head, memory_order_relaxed);

	return atomic_load_explicit(&ring.tail, memory_order_relaxed) - head;
}

/* ---- the writer ---- */

enum mode {
	MODE_DIRECT, /* the calling thread writes: before log_start() and after log_end() */
	MODE_RING,
	MODE_OFF, /* log_end() timed out: lines are dropped */
};

static _Atomic int mode = MODE_DIRECT;
/*
 * Set when the ring is full, cleared when the ring is empty. All lines in between are lost, so that
 * a gap is contiguous and has one notice.
 */
static _Atomic bool gap;
static _Atomic uint64_t lost_unreported; /* since the last notice */
static _Atomic uint64_t lost, written;

static void
line_lost(void)
{
	atomic_fetch_add_explicit(&lost, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&lost_unreported, 1, memory_order_relaxed);
}

/* Writes time and level, the start of each line; returns the length. */
static int
line_begin(char *line, enum log_level level, const struct timespec *ts)
{
	struct tm tm;
	int n;

	gmtime_r(&ts->tv_sec, &tm);
	n = (int)strftime(line, LINE_MAX_LEN, "%Y-%m-%dT%H:%M:%S", &tm);
	return n + snprintf(line + n, LINE_MAX_LEN - (size_t)n, ".%03ldZ %s ",
			   ts->tv_nsec / 1000000, level_text[level]);
}

/* Set by log_start() before the writer runs. */
static bool to_journal;

/*
 * False: stderr is closed or the disk is full. One write() per line, so that lines of several
 * processes do not mix.
 */
static bool
write_whole(const char *line, unsigned len)
{
	if (to_journal && journal_send(line, len))
		return true;
	while (len > 0) {
		ssize_t n = write(STDERR_FILENO, line, len);

		if (n > 0) {
			line += n;
			len -= (unsigned)n;
		} else if (n < 0 && errno == EAGAIN) {
			/* another process shares stderr and made it non-blocking */
			struct pollfd pfd = {.fd = STDERR_FILENO, .events = POLLOUT};

			(void)poll(&pfd, 1, -1);
		} else if (n == 0 || errno != EINTR) {
			return false;
		}
	}
	return true;
}

/* Writes the notice of lost lines, if any. False when stderr refuses the notice. */
static bool
write_lost_notice(void)
{
	uint64_t n = atomic_load_explicit(&lost_unreported, memory_order_relaxed);
	char line[LINE_MAX_LEN];
	struct timespec ts;
	int len;

	if (n == 0)
		return true;
	clock_gettime(CLOCK_REALTIME, &ts);
	len = line_begin(line, LOG_WARNING, &ts);
	len += snprintf(line + len, LINE_MAX_LEN - (size_t)len, "log-lost lines=%" PRIu64 "\n", n);
	if (!write_whole(line, (unsigned)len))
		return false;
	atomic_fetch_sub_explicit(&lost_unreported, n, memory_order_relaxed);
	return true;
}

/* The writer's work(): writes all queued lines. Only this function may block on stderr. */
static bool
lines_write(void *ctx, uint64_t now, uint64_t deadline)
{
	static bool failing; /* the last write failed: the next line is preceded by the notice */
	const char *line;
	unsigned len;

	(void)ctx;
	(void)now;
	(void)deadline;
	for (; (line = ring_peek(&len)) != NULL; ring_pop()) {
		failing = (failing && !write_lost_notice()) || !write_whole(line, len);
		if (failing)
			line_lost();
		else
			atomic_fetch_add_explicit(&written, 1, memory_order_relaxed);
	}
	/*
	 * A thread that stopped in ring_push() holds back its line and all later ones: the gap goes
	 * on. This thread is woken when the line is complete.
	 */
	if (ring_waiting() > 0)
		return false;
	atomic_store_explicit(&gap, false, memory_order_relaxed);
	if (!failing)
		(void)write_lost_notice();
	return false;
}

static struct thread *writer;
static _Thread_local bool is_writer;

static int
writer_start(void *ctx, struct thread *self)
{
	(void)ctx;
	(void)self;
	is_writer = true;
	return 0;
}

/* Writes the lines queued before thread_quit(). */
static void
writer_stop(void *ctx)
{
	(void)lines_write(ctx, 0, 0);
}

static void
line_put(const char *line, unsigned len)
{
	/* acquire: pairs with the release in log_start */
	switch (atomic_load_explicit(&mode, memory_order_acquire)) {
	case MODE_DIRECT:
		if (write_whole(line, len))
			atomic_fetch_add_explicit(&written, 1, memory_order_relaxed);
		return;
	case MODE_OFF:
		line_lost();
		return;
	}
	if (atomic_load_explicit(&gap, memory_order_relaxed)) {
		line_lost();
	} else if (!ring_push(line, len)) {
		line_lost();
		atomic_store_explicit(&gap, true, memory_order_relaxed);
	}
	thread_wake(writer);
}

void
log_write(struct log_site *site, enum log_level level, const char *fmt, ...)
{
	char line[LINE_MAX_LEN];
	struct timespec ts;
	unsigned dropped;
	va_list ap;
	int n, m;

	if ((int)level > atomic_load_explicit(&log_level, memory_order_relaxed))
		return;
	clock_gettime(CLOCK_REALTIME, &ts);
	if (!site_allows(site, (long)ts.tv_sec, &dropped))
		return;
	n = line_begin(line, level, &ts);
	va_start(ap, fmt);
	m = vsnprintf(line + n, sizeof(line) - (size_t)n - 40, fmt, ap);
	va_end(ap);
	if (m < 0)
		m = 0;
	n += m < (int)sizeof(line) - n - 40 ? m : (int)sizeof(line) - n - 41;
	if (dropped > 0)
		n += snprintf(
			line + n, sizeof(line) - (size_t)n - 1, " lines-held-back=%u", dropped);
	line[n++] = '\n';
	line_put(line, (unsigned)n);
}

/* ---- life ---- */

static const int crash_signals[] = {SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV};
#define CRASH_SIGNALS (sizeof(crash_signals) / sizeof(crash_signals[0]))
static struct sigaction crash_before[CRASH_SIGNALS];

/* On the crashed thread: waits for the writer to write the queued lines, then delivers the signal to the previous handler. */
static void
crashed(int sig)
{
	const struct timespec step = {.tv_nsec = 1000000};

	for (unsigned ms = 0; !is_writer && ring_waiting() > 0 && ms < CRASH_MS; ms++)
		nanosleep(&step, NULL);
	for (unsigned i = 0; i < CRASH_SIGNALS; i++)
		sigaction(crash_signals[i], &crash_before[i], NULL);
	raise(sig); /* blocked until this handler returns */
}

int
log_start(const unsigned *cpus, unsigned cpu_count)
{
	struct thread_config c = {.name = "keel-log",
		.cpus = cpus,
		.cpu_count = cpu_count,
		.start = writer_start,
		.stop = writer_stop,
		.work = lines_write,
		.unlisted = true};
	struct sigaction action = {.sa_handler = crashed};
	int err;

	atomic_store_explicit(&ring.head, 0, memory_order_relaxed);
	atomic_store_explicit(&ring.tail, 0, memory_order_relaxed);
	for (uint32_t i = 0; i < LOG_LINES_MAX; i++)
		atomic_store_explicit(&ring.turn[i], i, memory_order_relaxed);
	to_journal = journal_is_stderr();
	err = thread_create(&c, &writer);
	if (err != 0)
		return err;
	/* release: pairs with the acquire in line_put */
	atomic_store_explicit(&mode, MODE_RING, memory_order_release);
	for (unsigned i = 0; i < CRASH_SIGNALS; i++)
		sigaction(crash_signals[i], &action, &crash_before[i]);
	return 0;
}

bool
log_end(uint64_t patience_ns)
{
	if (writer == NULL)
		return true;
	for (unsigned i = 0; i < CRASH_SIGNALS; i++)
		sigaction(crash_signals[i], &crash_before[i], NULL);
	if (!thread_end_within(writer, patience_ns)) {
		atomic_store_explicit(&mode, MODE_OFF, memory_order_relaxed);
		return false; /* the thread stays until the process ends or the call is repeated */
	}
	atomic_store_explicit(&mode, MODE_DIRECT, memory_order_relaxed);
	thread_free(writer);
	writer = NULL;
	return true;
}

void
log_figures_get(struct log_figures *out)
{
	*out = (struct log_figures){
		.written = atomic_load_explicit(&written, memory_order_relaxed),
		.lost = atomic_load_explicit(&lost, memory_order_relaxed),
		.waiting = ring_waiting(),
	};
}

/*
 * The length of the character at `text` if it needs no escape: valid UTF-8 (RFC 3629 4), no control
 * character (some terminals interpret C1 as escapes), no line or paragraph separator. 0: to be
 * escaped.
 */
static size_t
plain_len(const unsigned char *text, size_t len)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t n = text[0] < 0x80   ? 1
		   : text[0] < 0xc0 ? 0
		   : text[0] < 0xe0 ? 2
		   : text[0] < 0xf0 ? 3
		   : text[0] < 0xf8 ? 4
				    : 0;
	uint32_t c;

	if (n == 1)
		return text[0] >= 0x20 && text[0] != 0x7f;
	if (n == 0 || n > len)
		return 0;
	c = text[0] & (0x7fu >> n);
	for (size_t i = 1; i < n; i++) {
		if ((text[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (text[i] & 0x3fu);
	}
	if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
		return 0;
	return c < 0xa0 || c == 0x2028 || c == 0x2029 ? 0 : n;
}

char *
log_escape(const char *text, size_t len, char *buf, size_t size)
{
	const unsigned char *in = (const unsigned char *)text;
	size_t n = 0, taken;

	if (size < 3) {
		if (size > 0)
			buf[0] = '\0';
		return buf;
	}
	buf[n++] = '"';
	/* room for the longest, the quote and the NUL */
	for (size_t i = 0; i < len && n + 6 <= size; i += taken) {
		taken = plain_len(&in[i], len - i);
		if (taken == 0) {
			n += (size_t)snprintf(buf + n, size - n, "\\x%02x", in[i]);
			taken = 1;
			continue;
		}
		if (in[i] == '"' || in[i] == '\\')
			buf[n++] = '\\';
		memcpy(buf + n, &in[i], taken);
		n += taken;
	}
	buf[n++] = '"';
	buf[n] = '\0';
	return buf;
}
