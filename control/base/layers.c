/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/base/layers.h"

#include "lpm/base/arena.h"
#include "lpm/base/qsbr.h"

#include <semaphore.h>

void
layers_on_each(const struct layers *l, void (*fn)(void *arg), void *arg, struct shard **shard)
{
	for (unsigned i = 0; i < l->shards.count; i++) {
		*shard = l->shards.at[i];
		thread_call(l->rib_thread[i], fn, arg);
	}
}

struct alone {
	sem_t stands, done;
	void (*fn)(void *arg);
	void *arg;
};

struct alone_call {
	struct alone *alone;
	bool stands; /* the fib thread */
};

static void
on_alone(void *arg)
{
	const struct alone_call *c = arg;

	if (c->stands) {
		sem_post(&c->alone->stands);
		sem_wait(&c->alone->done);
		return;
	}
	sem_wait(&c->alone->stands);
	c->alone->fn(c->alone->arg);
	sem_post(&c->alone->done);
}

int
layers_call_alone(const struct layers *l, void (*fn)(void *arg), void *arg)
{
	struct alone a = {.fn = fn, .arg = arg};
	struct alone_call call[] = {{&a, false}, {&a, true}};
	struct thread *const on[] = {l->host_thread, l->fib_thread};
	int err;

	sem_init(&a.stands, 0, 0);
	sem_init(&a.done, 0, 0);
	err = thread_call_each(on, 2, on_alone, (void *const[]){&call[0], &call[1]});
	sem_destroy(&a.stands);
	sem_destroy(&a.done);
	return err;
}

void
layers_call_each(const struct layers *l, void (*fn)(void *arg), struct shard_call *call)
{
	struct shard_call calls[SHARDS_MAX];
	void *args[SHARDS_MAX];

	for (unsigned i = 0; i < l->shards.count; i++) {
		calls[i] = *call;
		calls[i].shard = l->shards.at[i];
		calls[i].index = i;
		args[i] = &calls[i];
	}
	thread_call_each(l->rib_thread, l->shards.count, fn, args);
	for (unsigned i = 0; i < l->shards.count; i++)
		if (calls[i].result != 0)
			call->result = calls[i].result;
}

void
layers_rib_read_begin(const struct layers *l)
{
	qsbr_online(l->readers, l->main_reader);
}

void
layers_rib_read_end(const struct layers *l)
{
	qsbr_offline(l->readers, l->main_reader);
}

void
layers_fib_read_begin(const struct layers *l)
{
	qsbr_online(l->workers, l->main_fib_reader);
}

void
layers_fib_read_end(const struct layers *l)
{
	qsbr_offline(l->workers, l->main_fib_reader);
}

size_t
layers_rib_bytes(const struct layers *l)
{
	size_t bytes = arena_bytes(l->arena_rib);

	for (unsigned i = 0; i < l->shards.count; i++)
		bytes += arena_bytes(l->arena_shard[i]);
	return bytes;
}
