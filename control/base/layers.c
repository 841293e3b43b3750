/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/base/layers.h"

#include "lpm/base/arena.h"
#include "lpm/base/qsbr.h"

void
layers_on_each(const struct layers *l, void (*fn)(void *arg), void *arg, struct shard **shard)
{
	for (unsigned i = 0; i < l->shards.count; i++) {
		*shard = l->shards.at[i];
		thread_call(l->rib_thread[i], fn, arg);
	}
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
