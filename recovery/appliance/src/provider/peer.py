"""An OpenID provider on Debian's Authlib and Flask, for tests: authorization code, PKCE demanded, one client with a secret.

peer.py CERTIFICATE KEY CLIENT SECRET REDIRECT; says its port on its output. Who signs in is in the header `x-user`. PUT /users/NAME sets claims, POST /rotate makes
a new key (with `hide` it signs and is not shown), PUT /lies puts claims over those of each token, GET /asked says how often the keys were asked for.
"""
import secrets, sys, time
from types import SimpleNamespace

from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.jose import JsonWebKey
from authlib.oauth2.rfc6749 import ClientMixin, grants
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oidc.core import AuthorizationCodeMixin, OpenIDCode, UserInfo
from flask import Flask, jsonify, request
from werkzeug.serving import make_server

certificate, key, client_id, client_secret, redirect_uri = sys.argv[1:]
app = Flask(__name__)
users, codes, lies, asked = {}, {}, {}, {"keys": 0}


def new_key():
    return JsonWebKey.generate_key("RSA", 2048, {"kid": secrets.token_hex(4), "use": "sig", "alg": "RS256"}, is_private=True)


signs = shown = new_key()


class Client(ClientMixin):
    def get_client_id(self): return client_id
    def get_default_redirect_uri(self): return redirect_uri
    def get_allowed_scope(self, scope): return scope
    def check_redirect_uri(self, uri): return uri == redirect_uri
    def check_client_secret(self, secret): return secrets.compare_digest(secret, client_secret)
    def check_endpoint_auth_method(self, method, endpoint): return method == "client_secret_basic"
    def check_response_type(self, kind): return kind == "code"
    def check_grant_type(self, kind): return kind == "authorization_code"


class Code(AuthorizationCodeMixin):
    def __init__(self, code, asked, user):
        self.code, self.user, self.made = code, user, time.time()
        self.redirect_uri, self.scope, self.nonce = asked.redirect_uri, asked.scope, asked.data.get("nonce")
        self.code_challenge = asked.data.get("code_challenge")
        self.code_challenge_method = asked.data.get("code_challenge_method")

    def get_redirect_uri(self): return self.redirect_uri
    def get_scope(self): return self.scope
    def get_nonce(self): return self.nonce
    def get_auth_time(self): return int(self.made)


class Grant(grants.AuthorizationCodeGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = ["client_secret_basic"]

    def save_authorization_code(self, code, asked): codes[code] = Code(code, asked, asked.user)
    def query_authorization_code(self, code, client): return codes.get(code)
    def delete_authorization_code(self, code): codes.pop(code.code, None)
    def authenticate_user(self, code): return code.user


class Says(OpenIDCode):
    def exists_nonce(self, nonce, asked): return False

    def get_jwt_config(self, grant):
        return {"key": {"keys": [signs.as_dict(is_private=True)]}, "alg": "RS256", "iss": request.host_url.rstrip("/"), "exp": 300}

    def generate_user_info(self, user, scope): return UserInfo(**users[user.name])

    def process_token(self, grant, token):
        says = super().process_token(grant, token)
        if lies:
            from authlib.jose import jwt
            claims = dict(jwt.decode(says["id_token"], signs))
            claims.update(lies)
            claims = {name: value for name, value in claims.items() if value is not None}
            says["id_token"] = jwt.encode({"alg": "RS256", "kid": signs.as_dict()["kid"]}, claims, signs).decode()
        return says


server = AuthorizationServer(app, query_client=lambda id: Client() if id == client_id else None, save_token=lambda token, asked: None)
server.register_grant(Grant, [Says(require_nonce=True), CodeChallenge(required=True)])


@app.get("/.well-known/openid-configuration")
def places():
    at = request.host_url.rstrip("/")
    return jsonify(issuer=at, authorization_endpoint=at + "/authorize", token_endpoint=at + "/token", jwks_uri=at + "/keys", code_challenge_methods_supported=["S256"])


@app.get("/keys")
def keys():
    asked["keys"] += 1
    return jsonify(keys=[shown.as_dict()])


@app.get("/authorize")
def authorize():
    return server.create_authorization_response(grant_user=SimpleNamespace(name=request.headers["x-user"]))


@app.post("/token")
def token(): return server.create_token_response()


@app.put("/users/<name>")
def user(name):
    users[name] = request.json
    return ""


@app.put("/lies")
def lie():
    lies.clear()
    lies.update(request.json)
    return ""


@app.post("/rotate")
def rotate():
    global signs, shown
    signs = new_key()
    shown = shown if "hide" in request.args else signs
    return ""


@app.get("/asked")
def how_often(): return jsonify(asked)


listening = make_server("127.0.0.1", 0, app, threaded=True, ssl_context=(certificate, key))
print(listening.server_port, flush=True)
listening.serve_forever()
