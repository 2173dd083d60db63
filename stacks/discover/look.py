# Prints what an image has to serve an app with: the servers that are installed, and in
# the files of its working directory the callables, those at the top first, the paths that
# they answer, and the names of the files that they read from forms. Nothing of the app is
# run.
import ast, json, os, re, shutil, sys

SERVERS = {"flask": "flask", "gunicorn": "gunicorn", "uvicorn": "uvicorn", "hypercorn": "hypercorn",
           "waitress": "waitress-serve", "uwsgi": "uwsgi", "daphne": "daphne"}
WSGI = {"get_wsgi_application", "Bottle", "default_app", "make_wsgi_app", "API"}
ASGI = {"FastAPI", "Starlette", "Quart", "Litestar", "Sanic", "get_asgi_application"}
NAMES = ["app", "application", "api", "wsgi", "asgi", "server"]
FACTORY = re.compile(r"(create|make|get|build)_\w*app|application_factory|app_factory")
ROUTES = {"route", "api_route", "add_route", "add_url_rule", "add_api_route", "Route"}
METHODS = {"get", "post", "put"}


def called(node):
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", None)


def text(node):
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def option(call, *names):
    return next((k.value for k in call.keywords if k.arg in names), None)


def kind(node):
    """What a call makes, by the name of what is called."""
    if not isinstance(node, ast.Call):
        return None
    name = called(node)
    if name == "App" and isinstance(node.func, ast.Attribute):  # of falcon
        return "asgi" if "asgi" in ast.unparse(node.func) else "wsgi"
    if name == "Flask":
        return "flask"
    return "wsgi" if name in WSGI else "asgi" if name in ASGI else None


def callables(tree):
    for node in tree.body:
        if isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            made = kind(node.value)
            for target in targets:
                if made and isinstance(target, ast.Name):
                    yield target.id, made
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            arguments = [a.arg for a in node.args.args]
            if arguments == ["scope", "receive", "send"]:
                yield node.name, "asgi"
            elif arguments in (["environ", "start_response"], ["env", "start_response"]):
                yield node.name, "wsgi"
            elif FACTORY.fullmatch(node.name) and len(arguments) <= len(node.args.defaults):
                made = [kind(n) for n in ast.walk(node) if kind(n)]
                if made:
                    yield node.name + "()", made[0]


def rank(item):
    name = item["Name"].partition(":")[2]
    known = NAMES.index(name) if name in NAMES else len(NAMES) + name.endswith("()")
    return item["File"].count("/"), known, item["File"]


def routes(tree):
    """The paths of a file's routes, and the prefixes that others' routes get in it."""
    own = {}  # of a blueprint or router, by the name of its variable
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and called(node.value) in ("Blueprint", "APIRouter"):
            prefix = text(option(node.value, "url_prefix", "prefix"))
            own.update({t.id: prefix or "" for t in node.targets if isinstance(t, ast.Name)})
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or called(node) not in ROUTES | METHODS or not node.args:
            continue
        path = text(node.args[0])
        if not path or not path.startswith("/"):
            continue
        methods = [called(node).upper()] if called(node) in METHODS else ["GET"]
        given = option(node, "methods")
        if isinstance(given, (ast.List, ast.Tuple, ast.Set)):
            methods = [m for m in map(text, given.elts) if m]
        holder = node.func.value.id if isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name) else ""
        yield own.get(holder, "") + path, methods, holder in own and not own[holder]


def prefixes(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and called(node) in ("register_blueprint", "include_router"):
            yield text(option(node, "url_prefix", "prefix"))


def fields(tree):
    for node in ast.walk(tree):
        of = node.value if isinstance(node, ast.Subscript) else node.func.value if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("get", "getlist") else None
        if of is None or not (isinstance(of, ast.Attribute) and of.attr == "files" or isinstance(of, ast.Name) and of.id in ("files", "form")):
            continue
        yield text(node.slice if isinstance(node, ast.Subscript) else node.args[0] if node.args else None)


found, paths, free, before, names = [], [], [], [], []
for folder, folders, files in os.walk("."):
    depth = folder.count("/")
    folders[:] = [] if depth >= 2 else sorted(f for f in folders if f.isidentifier() and f not in ("tests", "test", "node_modules", "venv"))
    for file in sorted(files)[:200]:
        path = os.path.normpath(os.path.join(folder, file))
        try:
            if not file.endswith(".py") or os.path.getsize(path) > 1 << 20:
                continue
            with open(path, encoding="utf-8", errors="replace") as f:
                tree = ast.parse(f.read())
        except (SyntaxError, ValueError, OSError, RecursionError):
            continue
        module = path[:-3].replace("/", ".").removesuffix(".__init__")
        found += [{"Name": module + ":" + name, "Kind": made, "File": path} for name, made in callables(tree)]
        for one, methods, unbound in routes(tree):
            paths.append({"Path": one, "Methods": methods})
            if unbound:
                free.append(paths[-1])
        before += [p for p in prefixes(tree) if p]
        names += [n for n in fields(tree) if n]
paths = [{**one, "Path": prefix + one["Path"]} for one in free for prefix in before] + paths
have = [name for name, program in SERVERS.items() if shutil.which(program)]
print(json.dumps({"Servers": have, "Callables": sorted(found, key=rank)[:20], "Routes": paths[:60], "Fields": list(dict.fromkeys(names))[:5]}))
