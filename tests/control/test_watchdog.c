/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/base/watchdog.h"

#include "control/base/log.h"
#include "control/base/service.h"
#include "control/base/threads.h"
#include "lpm/base/note_work.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

#define PATIENCE_NS 300000000000u /* only a failing test takes this long */

static struct watchdog *dog;
static int real_stderr, said;
static char log_text[8192];
static size_t log_len;

/* Until the condition holds; the threads under test take no CPU meanwhile. */
#define AWAIT(condition)                                                                           \
	do {                                                                                       \
		uint64_t until_ = now_ns() + PATIENCE_NS;                                          \
		while (!(condition)) {                                                             \
			assert_true(now_ns() < until_);                                            \
			usleep(1000);                                                              \
		}                                                                                  \
	} while (0)

static int
begin(void **state)
{
	int fd[2];

	(void)state;
	assert_int_equal(pipe2(fd, O_NONBLOCK), 0);
	real_stderr = dup(STDERR_FILENO);
	dup2(fd[1], STDERR_FILENO);
	close(fd[1]);
	said = fd[0];
	assert_int_equal(watchdog_create(NULL, 0, &dog), 0);
	return 0;
}

static int
end(void **state)
{
	(void)state;
	watchdog_destroy(dog);
	dup2(real_stderr, STDERR_FILENO);
	close(real_stderr);
	close(said);
	log_len = 0;
	return 0;
}

/* True when the text has been logged since the text of the last call. */
static bool
logged(const char *text)
{
	ssize_t n = read(said, log_text + log_len, sizeof(log_text) - 1 - log_len);
	char *at;

	log_len += n > 0 ? (size_t)n : 0;
	log_text[log_len] = '\0';
	at = strstr(log_text, text);
	if (at == NULL)
		return false;
	at += strlen(text);
	log_len -= (size_t)(at - log_text);
	memmove(log_text, at, log_len + 1);
	return true;
}

static struct watchdog_late
late(uint64_t number)
{
	struct watchdog_late l = {0};

	assert_true(watchdog_late_get(dog, number, &l));
	return l;
}

static bool
ended(uint64_t number)
{
	return late(number).ended;
}

/* A thread with a work() that blocks until the test posts `go`. */
struct subject {
	struct thread *thread;
	_Atomic bool slow, busy;
	sem_t go;
};

static void
wait_for(sem_t *go)
{
	while (sem_wait(go) != 0)
		assert_int_equal(errno, EINTR);
}

static bool
subject_work(void *ctx, uint64_t now, uint64_t deadline)
{
	struct subject *s = ctx;

	(void)now;
	(void)deadline;
	note_work("a short piece");
	if (atomic_exchange(&s->slow, false)) {
		note_work("a long piece");
		wait_for(&s->go);
	}
	if (atomic_load(&s->busy))
		sched_yield();
	return atomic_load(&s->busy);
}

static void
subject_begin(struct subject *s, const char *name)
{
	struct thread_config c = {.name = name, .ctx = s, .work = subject_work};

	*s = (struct subject){0};
	sem_init(&s->go, 0, 0);
	assert_int_equal(thread_create(&c, &s->thread), 0);
}

static void
subject_end(struct subject *s)
{
	thread_end(s->thread);
	thread_free(s->thread);
	sem_destroy(&s->go);
}

static unsigned
late_turns(const char *name)
{
	struct thread_figures f;

	for (unsigned i = 0; thread_figures_get(i, &f); i++) {
		if (strcmp(f.name, name) == 0)
			return (unsigned)f.late;
	}
	return 0;
}

/* A late turn is an alarm with thread and work until the turn ends. Idle threads, and busy threads with short turns, are not late. */
static void
test_late_turn(void **state)
{
	struct subject slow, busy, idle;
	struct watchdog_late l;
	char text[160];

	(void)state;
	subject_begin(&slow, "slow");
	subject_begin(&busy, "busy");
	subject_begin(&idle, "idle");
	atomic_store(&busy.busy, true);
	thread_wake(busy.thread);
	for (unsigned round = 1; round <= 2; round++) {
		atomic_store(&slow.slow, true);
		thread_wake(slow.thread);
		AWAIT(watchdog_late_count(dog) == round);
		l = late(round);
		assert_string_equal(l.thread, "slow");
		assert_string_equal(l.doing, "a long piece");
		assert_true(!l.ended && l.alarm && l.ns >= WATCHDOG_LATE_NS);
		assert_non_null(strstr(watchdog_text(&l, text, sizeof(text)),
			"slow has not finished its turn for "));
		assert_non_null(strstr(text, " s, doing: a long piece"));
		AWAIT(logged(" warning thread-late thread=slow doing=\"a long piece\" for_ms=1"));
		AWAIT(late_turns("slow") == round);
		sem_post(&slow.go);
		AWAIT(ended(round));
		l = late(round);
		assert_false(l.alarm);
		assert_string_equal(l.doing, "a long piece");
		AWAIT(logged(
			" warning thread-late-end thread=slow doing=\"a long piece\" for_ms="));
	}
	assert_int_equal(watchdog_late_count(dog), 2);
	assert_int_equal(late_turns("busy") + late_turns("idle"), 0);
	subject_end(&slow);
	subject_end(&busy);
	subject_end(&idle);
}

/* ---- main ---- */

struct main_case {
	struct thread *self;
	struct subject *slow;
	uint64_t seen;
};

static void
slow_order(void *arg)
{
	wait_for(&((struct subject *)arg)->go);
}

/* Main waits for the slow thread, and the slow thread is late with the order of main. */
static void
main_order(void *arg)
{
	struct main_case *m = arg;

	note_work("config.commit");
	thread_call(m->slow->thread, slow_order, m->slow);
	thread_quit(m->self);
}

/* Releases the slow thread when both are late. */
static bool
helper_work(void *ctx, uint64_t now, uint64_t deadline)
{
	struct main_case *m = ctx;

	(void)now;
	(void)deadline;
	if (m->seen == 0 && watchdog_late_count(dog) == 2) {
		m->seen = 2;
		sem_post(&m->slow->go);
	}
	usleep(1000);
	return m->seen == 0;
}

/* Main is watched too. The alarm of main can be read after the turn. */
static void
test_main_is_late(void **state)
{
	struct main_case m = {0};
	struct thread_config main_config = {.name = "keeld"},
			     helper_config = {.name = "helper", .ctx = &m, .work = helper_work};
	struct thread *helper;
	struct subject slow;
	unsigned main_number;

	(void)state;
	subject_begin(&slow, "slow");
	m.slow = &slow;
	assert_int_equal(thread_adopt(&main_config, &m.self), 0);
	assert_int_equal(thread_post(m.self, main_order, &m), 0);
	assert_int_equal(thread_create(&helper_config, &helper), 0);
	thread_run(m.self);
	thread_end(helper);
	thread_free(helper);
	AWAIT(ended(1) && ended(2));
	main_number = strcmp(late(1).thread, "keeld") == 0 ? 1 : 2;
	assert_string_equal(late(main_number).thread, "keeld");
	assert_string_equal(late(main_number).doing, "waiting for slow");
	assert_true(late(main_number).alarm);
	assert_string_equal(late(3 - main_number).thread, "slow");
	assert_string_equal(late(3 - main_number).doing, "config.commit");
	assert_false(late(3 - main_number).alarm);
	AWAIT(logged(" warning thread-late thread=keeld doing=\"waiting for slow\""));
	AWAIT(logged(" warning thread-late-end thread=keeld "));
	thread_free(m.self);
	subject_end(&slow);
}

/*
 * The watchdog is the only thread beside main, and tells the service manager twice. The second message
 * follows the first check, which reads the fields of watchdog_create(): TSan finds a race.
 */
static void
test_feeds_alone(void **state)
{
	struct sockaddr_un manager = {.sun_family = AF_UNIX};
	socklen_t len = sizeof(sa_family_t); /* autobind: the kernel chooses an abstract name */
	struct timeval patience = {.tv_sec = PATIENCE_NS / 1000000000u};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	char text[64];

	(void)state;
	assert_int_equal(bind(fd, (struct sockaddr *)&manager, len), 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
	len = sizeof(manager);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&manager, &len), 0);
	snprintf(text, sizeof(text), "@%.*s", (int)(len - sizeof(sa_family_t) - 1),
		manager.sun_path + 1);
	setenv("NOTIFY_SOCKET", text, 1);
	setenv("WATCHDOG_USEC", "1000000", 1);
	assert_int_equal(service_open(), 0);
	assert_int_equal(watchdog_create(NULL, 0, &dog), 0);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(recv(fd, text, sizeof(text), 0), strlen("WATCHDOG=1"));
		assert_memory_equal(text, "WATCHDOG=1", strlen("WATCHDOG=1"));
	}
	watchdog_destroy(dog);
	close(fd);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_late_turn, begin, end),
		cmocka_unit_test_setup_teardown(test_main_is_late, begin, end),
		cmocka_unit_test(test_feeds_alone),
	};

	return cmocka_run_group_tests_name("watchdog", tests, NULL, NULL);
}
