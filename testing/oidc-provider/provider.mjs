// The OpenID Connect provider of the tests: the real one, with two clients and whoever wants to sign in. It takes its settings
// from the environment and ends with the test, which holds its standard input.

import Provider from "oidc-provider";

const { ISSUER, CALLBACK, EMAIL_IN_TOKEN, TOKEN_SECONDS } = process.env;

const client = (name) => ({
  client_id: name,
  client_secret: `secret-of-${name}`,
  redirect_uris: [CALLBACK],
});

// Somebody signs in as "ann@example.org", or as "ann@example.org unverified".
const person = (login) => {
  const [email, unverified] = login.split(" ");
  return {
    accountId: login,
    claims: () => ({ sub: login, email, email_verified: unverified === undefined }),
  };
};

const provider = new Provider(ISSUER, {
  clients: [client("fitme"), client("other")],
  claims: { email: ["email", "email_verified"] },
  conformIdTokenClaims: EMAIL_IN_TOKEN === undefined,
  findAccount: (_, login) => person(login),
  ttl: { IdToken: Number(TOKEN_SECONDS), Session: 600, Interaction: 600, Grant: 600, AccessToken: 600 },
});

const server = provider.listen(0, "127.0.0.1", () => {
  console.log(`listening on http://127.0.0.1:${server.address().port}`);
});
process.stdin.resume().on("end", () => process.exit(0));
