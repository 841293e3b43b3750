/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/rpc/http_mhd.h"

#include "control/base/log.h"

#include <dlfcn.h>
#include <errno.h>
#include <string.h>

static const struct {
	const char *name;
	size_t at;
} functions[] = {
#define FUNCTION(name) {"MHD_" #name, offsetof(struct http_mhd, name)},
	HTTP_MHD_FUNCTIONS(FUNCTION)
#undef FUNCTION
};

/* False: a function is missing. */
static bool
functions_find(void *library, struct http_mhd *out)
{
	for (unsigned i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
		void *f = dlsym(library, functions[i].name);

		if (f == NULL)
			return false;
		/* ISO C does not convert an object pointer to a function pointer */
		memcpy((uint8_t *)out + functions[i].at, &f, sizeof(f));
	}
	return true;
}

int
http_mhd_load(struct http_mhd *out)
{
	void *library = dlopen(HTTP_MHD_LIBRARY, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);

	if (library != NULL && functions_find(library, out))
		return 0;
	log_event(LOG_ERROR, "http-library-missing text=\"%s\"", dlerror());
	return -ELIBACC;
}
