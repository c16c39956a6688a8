/* One try to put the JSON of an answer where its command says (responseBodyUploadUrl): from
 * memory or from its file, a piece at a time, gzip-encoded first where the source wants
 * that. Ends exactly once; who wants another try starts another upload. */
#ifndef AGENT_UPLOAD_H
#define AGENT_UPLOAD_H

#include "agent/http.h"
#include "agent/loop.h"
#include "agent/spool.h"
#include "agent/transport.h"

/* Borrowed until the end. */
struct upload_request {
	const struct http_profile *profile;
	const char *url; /* byte for byte: it may be signed */
	struct spool *content;
	bool gzip;
	const char *scratch_folder; /* for what gzip makes; NULL: memory */
};

struct upload;
struct upload *upload_start(struct loop *loop, struct http_client *client,
			    const struct upload_request *request,
			    void (*on_done)(void *context, const struct transport_outcome *outcome),
			    void *context);
/* Ends it without a callback. */
void upload_cancel(struct upload *upload);

#endif
