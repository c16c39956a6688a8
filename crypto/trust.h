/* The certificates that are trusted for TLS, loaded once and shared by all connections:
 * libcurl alone would read the system's roots again for each of them. */
#ifndef CRYPTO_TRUST_H
#define CRYPTO_TRUST_H

#include "base/error.h"

struct trust;

/* The system's roots (SSL_CERT_FILE where it is set) and those in ca_file (may be NULL). */
struct trust *trust_new(const char *ca_file, struct error *err);
void trust_free(struct trust *trust);
/* Makes ssl_ctx (OpenSSL's SSL_CTX *) use them. Shares, does not copy. */
void trust_apply(struct trust *trust, void *ssl_ctx);

/* What a certificate's verification found (X509_V_ERR_… as OpenSSL numbers it), as a
 * stable code and a sentence; NULL for both when it found nothing (0, or 1 before it ran). */
void trust_explain(long verify_result, const char **code, const char **text);

#endif
