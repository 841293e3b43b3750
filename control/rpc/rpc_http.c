/* SPDX-License-Identifier: BSD-3-Clause */
/* The HTTP server of the running configuration; `management` does not change while keeld runs. */
#include "control/rpc/rpc.h"
#include "control/rpc/rpc_call.h"

#include "control/config/config.h"
#include "control/rpc/http.h"
#include "control/base/log.h"

#include <string.h>

#define RETRY_NS 5000000000u

/* keeld routes also when the address does not exist yet or the port is in use: the listener retries. */
static void
server_start(struct timer *t) RUNS_ON(role_main)
{
	struct rpc *r = (struct rpc *)(void *)((char *)t - offsetof(struct rpc, http_timer));
	const struct config *c = apply_running(r->env.apply);
	struct http_config h = {
		.addr = c->http_addr, .port = c->http_port, .token_file = c->http_token_file};
	char text[ADDR_TEXT_MAX];
	int err = http_create(r, &h, &r->http);

	addr_format(&c->http_addr, text);
	if (err == 0) {
		log_event(LOG_INFO, "http-up address=%s port=%u", text, c->http_port);
		return;
	}
	log_event(LOG_ERROR, "http-failed address=%s port=%u error=\"%s\"", text, c->http_port,
		strerror(-err));
	timer_arm(r->thread, t, RETRY_NS);
}

void
rpc_http_start(struct rpc *r)
{
	r->http_timer.fire = server_start;
	if (apply_running(r->env.apply)->http_addr.afi != AFI_NONE)
		server_start(&r->http_timer);
}

void
rpc_http_end(struct rpc *r)
{
	if (r->thread != NULL)
		timer_cancel(r->thread, &r->http_timer);
	http_destroy(r->http);
	r->http = NULL;
}
