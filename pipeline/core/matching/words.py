"""What people write around a name or for it: titles, short forms, placeholders. Data, English and Portuguese.

It must not know records or weights.
"""

from __future__ import annotations

from typing import Final


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


TITLES: Final = _words("""
sir dame lord lady mr mrs ms miss dr prof rev hon sr sra srta dom dona baronet baron earl duke viscount
count marquess esq phd md
""")
"""Words of a name that say nothing about who it is."""

_GENERATIONS: Final = """
1 sr snr senior i; 2 jr jnr junior filho filha ii 2nd; 3 iii 3rd neto neta; 4 iv bisneto; n sobrinho
"""
GENERATIONS: Final = {word: one.split()[0] for one in _GENERATIONS.split(";") for word in one.split()[1:]}
"""The last word of a name that tells father, son, grandson and nephew apart."""

PARTICLES: Final = _words("""
de da do das dos e del della di van von der den la le the of y du
""")

LEGAL_FORMS: Final = _words("""
ltda me mei epp eireli sa cia inc incorporated llc llp lp ltd limited corp corporation co company plc gmbh ag
kg bv nv srl sarl sl spa oy ab pty pte pvt
""")
"""The last words of an organisation's name, which one register has and another leaves out."""

PLACEHOLDERS: Final = _words("""
na n/a null none nil unknown unk test teste xxx nd ni nt nao informado sem nome desconhecido ignorado
consta
""")

NICKNAMES: Final = """
william bill will billy willie willy wm liam; robert bob rob bobby robbie bert robby; richard rick dick
ritchie rich ricky dickie; james jim jimmy jamie jem; john jack johnny jon johnnie; joseph joe joey jos;
thomas tom tommy thos; charles charlie chuck chas charley; edward ed eddie ted ned teddy edwd; george geo
georgie; henry harry hank hal; frederick fred freddie freddy fredrick; francis frank fran francie; samuel
sam sammy saml; benjamin ben benny benj; daniel dan danny; david dave davy davie; michael mike mick mickey
mikey; andrew andy drew; anthony tony ant; alexander alex sandy alec xander al; albert bert al bertie;
alfred alf fred alfie; arthur art artie; christopher chris kit topher; christine christina chris chrissie
tina; nicholas nick nicky nicolas; patrick pat paddy; peter pete; philip phil phillip; stephen steve
steven stevie; matthew matt; nathaniel nathan nat nate; jonathan jon johnathan jonny; joshua josh; jacob
jake; zachary zach zack; lawrence larry laurie; leonard len leo lenny; ernest ernie; herbert herb bert;
harold harry hal; hugh hughie; raymond ray; ronald ron ronnie; donald don donnie; kenneth ken kenny;
gerald gerry jerry; gregory greg; timothy tim; terence terry; theodore ted theo teddy; walter walt wally;
vincent vince vinny; eugene gene; edwin ed eddie; edmund ed ned; maximilian max; oliver ollie; elizabeth
liz beth lizzie betty eliza bess elisabeth betsy lisa libby; margaret maggie meg peggy marge margie greta;
mary molly polly mae maria; catherine kate kathy cathy katie katherine kathryn kitty kat; anne ann annie
anna nan nancy hannah; susan sue susie suzanne; sarah sally sadie sara; jane janie jenny; jennifer jen
jenny; jessica jess jessie; rebecca becky becca; deborah deb debbie debra; patricia pat patty tricia
trish; barbara barb babs; dorothy dot dolly dottie; eleanor ellie nell nora ellen; emily em emma; florence
flo flossie; frances fran fanny francie; helen nell nellie ellen; isabella bella isabel izzy isobel;
josephine jo josie; judith judy; victoria vicky tori; virginia ginny; theresa terry tess teresa; samantha
sam; alexandra alex sandra lexi; abigail abby gail; amanda mandy; caroline carrie carolyn carol; charlotte
lottie charlie; georgina georgie gina; harriet hattie; martha mattie patty; matilda tilly mattie; louisa
lou louise; melissa mel missy; nicole nicky; pamela pam; jose ze zeca; francisco chico kiko paco; antonio
tonho toninho tony; joao joca; manoel manuel mane neco; luiz luis lula; carlos carlinhos cadu; eduardo edu
dudu; fernando nando; roberto beto; alberto beto; paulo paulinho; pedro pedrinho; ricardo rick cadu;
rodrigo digo; rafael rafa; gabriel gabi biel; gabriela gabi; guilherme gui; gustavo guga gu; leonardo leo;
marcelo celo; mateus matheus teteu; vinicius vini; beatriz bia; fernanda nanda fe; juliana ju; mariana
mari; maria mariazinha; patricia paty; daniela dani; daniele dani; carolina carol; isabela isa bela
isabella; larissa lari; leticia le; luciana lu; luiza lu luisa; raimundo mundinho; sebastiao tiao;
severino biu; aparecida cida; conceicao ceicao; fatima fafa; francisca chica; rita ritinha; tereza teca
teresa theresa; terezinha teca; alexandre xande ale alex; adriana dri; cristina cris; cristiane cris;
sebastian bastian seb; johann hans johannes; heinrich heinz; friedrich fritz; wilhelm willi
"""
"""Names that stand for each other, a group each; the first is the full one. """

STREET_WORDS: Final = _words("""
street st road rd avenue ave av lane ln drive dr court ct crescent cres place pl close cl circuit cct way
terrace tce parade pde boulevard blvd highway hwy square sq circle cir trail trl parkway pkwy loop rua r
avenida travessa tv trav alameda al praca pca rodovia rod estrada est largo viela vila beco north south
east west n s e w
""")
UNIT_WORDS: Final = _words("""
apto apt ap apartamento apartment unit unt flat suite ste casa cs bloco bl fundos sala lote lt quadra qd
box no numero num
""")


def _variants() -> dict[str, frozenset[int]]:
    groups: dict[str, set[int]] = {}
    for number, group in enumerate(NICKNAMES.split(";")):
        for name in group.split():
            groups.setdefault(name, set()).add(number)
    return {name: frozenset(found) for name, found in groups.items()}


VARIANTS: Final = _variants()
"""Name → numbers of the groups of NICKNAMES that it stands in."""


def _initials() -> dict[str, str]:
    groups = [group.split() for group in NICKNAMES.split(";")]
    return {
        name: "".join(sorted({other[0] for number in found for other in groups[number]}))
        for name, found in VARIANTS.items()
    }


VARIANT_INITIALS: Final = _initials()
"""Name → the first letters of all names that stand for it."""
