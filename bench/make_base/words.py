"""Words and sentences of the procedural corpus, written for it: nothing here is taken from a data set."""

# ruff: noqa: SIM905 (words in lines, not one a line)

FIRST = """Anna Marco Lena Tobias Priya Kenji Fatima Oscar Nadia Pavel Chloe Diego Ingrid Samuel Mei Yusuf Greta Hamid Olivia Bruno Amara
Felix Sofia Viktor Leila Jonas Camille Ravi Elena Theo Zoe Mateo Hana Liam Nora Idris Paula Simon Aisha Emil Rosa Dmitri Clara
Ibrahim Julia Karim Luisa Milan Noah Petra Quentin Rita Stefan Tara Umar Vera Walter Xenia Yara Zane Beth Carl Dora Erik""".split()
LAST = """Keller Rossi Novak Tanaka Okafor Silva Becker Dubois Haddad Larsen Moreau Patel Quinn Ramos Schmidt Turner Ueda Vogel Weber Yilmaz
Zhang Abbott Bianchi Castillo Dahl Eriksen Fischer Garcia Horvat Ivanov Jensen Kowalski Lindgren Meyer Nguyen Olsen Petrov Reyes
Santos Thorne Urban Vasquez Walsh Young Zimmer Baker Cohen Doyle Ellis Fraser""".split()
CITIES = [
    *"""Berlin Lisbon Oslo Madrid Vienna Prague Dublin Geneva Lyon Porto Krakow Tallinn Athens Milan Zurich Hamburg Leeds Boston Denver
Austin Toronto Osaka Seoul Mumbai Nairobi Cairo Lima Bogota Sydney Perth Ghent Turin Malmo Bergen Basel Cardiff Naples Seville
Tampere Riga""".split(),
    *["New York", "San Diego", "Cape Town", "Buenos Aires", "Hong Kong", "Tel Aviv", "Le Havre", "Den Haag"],
]
STREETS = [
    "Mill Lane",
    "Station Road",
    "Park Street",
    "Church Hill",
    "River Walk",
    "Elm Avenue",
    "Market Square",
    "Old Harbour Way",
    "North Gate",
    "Garden Row",
    "Victoria Street",
    "Oak Drive",
]
COMPANIES = """Norvex Halden Brightwell Kesto Lumora Tavira Quantel Orbisoft Fernhill Delvane Arcadia Mistral Zephyr Polaris
Cobalt Juniper Sable
Vanta Redwood Trident""".split()
COMPANY_TAILS = ["Ltd", "GmbH", "Inc", "Group", "Foods", "Logistics", "Media", "Partners", "Energy", "Labs", ""]
ADJECTIVES = """blue red small large wireless folding steel leather cotton portable digital silent compact classic ceramic solar electric
waterproof wooden black white green heavy light smart slim double travel winter summer outdoor garden kitchen mini deluxe vintage
magnetic rechargeable""".split()
PRODUCTS = """kettle backpack lamp headphones keyboard monitor jacket tent blender toaster router printer camera speaker desk chair mattress
pillow bicycle helmet watch phone tablet charger drill saw mug bottle scarf boots sneakers vacuum heater fan mirror rug shelf sofa
grill stroller piano guitar microphone mouse cable adapter battery thermostat doorbell scale razor perfume notebook pen umbrella
wallet suitcase""".split()
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"]
CURRENCIES = ["EUR", "USD", "GBP", "CHF", "euros", "dollars", "pounds", "SEK"]
DOMAINS = ["mail.com", "example.org", "post.net", "inbox.io", "web.de", "company.com", "uni.edu", "box.co.uk"]
SYLLABLES = """ba be bo bri ca ce co da de dra el fa fe fi ga ge gra ha he in jo ka ke ki la le lo ma me mi mo na ne no or pa pe
qua ra re ri ro
sa se sta ta te ti tra u va ve vi wa we xa yo za zo""".split()

NOUNS = """time year people way day man thing woman life child world school state family student group country problem hand part place case
week system program question work government number night point home water room mother area money story fact month lot right study
book eye job word business issue side kind head house service friend father power hour game line end member law car city community
name president team minute idea kid body information back parent face others level office door health person art war history party
result change morning reason research girl guy moment air teacher force education message address account ticket letter report
file screen page button email meeting room plan price contract offer team lunch dinner hotel flight train bus station airport
weather rain window garden dog cat coffee tea bread bag box key paper photo video music song film news paper customer manager
driver doctor nurse engineer neighbour colleague visitor guest""".split()
VERBS = """asked used found gave told worked called tried needed felt became left put meant kept let began seemed helped talked turned
started showed heard played ran moved liked lived believed held brought happened wrote provided sat stood lost paid met included
continued set learned changed led understood watched followed stopped created spoke read allowed added spent grew opened walked
won offered remembered loved considered appeared bought waited served died sent expected built stayed fell cut reached killed
remained suggested raised passed sold required reported decided pulled checked ordered returned received booked cancelled repaired
replaced installed updated""".split()
COMMON_ADJ = """good new first last long great little own other old right big high different small large next early young
important few public bad
same able sure free clear full special easy strong certain open whole short real simple past late hard recent common poor natural
final main nice happy serious ready quick cold warm wrong possible broken missing wet dirty expensive cheap helpful useful
strange""".split()
ADVERBS = """again already also always away back certainly finally here just later maybe never now often once only perhaps quickly really
recently sometimes soon still suddenly there today together tomorrow usually well yesterday yet""".split()
PREPS = [
    "in",
    "on",
    "at",
    "with",
    "for",
    "about",
    "after",
    "before",
    "behind",
    "near",
    "from",
    "during",
    "without",
    "under",
    "over",
    "between",
    "through",
]

# A theme: names that a label may have, then sentences that belong to it, then things that it is about.
THEMES: list[tuple[list[str], list[str], list[str]]] = [
    (
        ["billing", "payment", "invoice", "charges"],
        [
            "I was charged twice this month.",
            "The amount on my invoice is wrong.",
            "My card was declined again.",
            "Why is there an extra fee on the bill?",
            "You took money from my account without asking.",
            "I paid but the bill still shows as open.",
            "The direct debit went through two times.",
            "Please explain this charge.",
        ],
        ["invoice", "bill", "payment", "credit card", "bank transfer", "receipt", "fee", "tax", "discount code"],
    ),
    (
        ["delivery", "shipping", "parcel", "logistics"],
        [
            "My parcel has not arrived yet.",
            "The courier left it with the wrong neighbour.",
            "Tracking has not moved for days.",
            "The box came damaged.",
            "It was supposed to be delivered last week.",
            "Where is my package?",
            "The driver never rang the bell.",
            "Half of the shipment is missing.",
        ],
        ["parcel", "courier", "shipment", "tracking number", "package", "delivery slot", "warehouse", "driver"],
    ),
    (
        ["returns", "refund", "exchange", "money_back"],
        [
            "I want to send this back.",
            "Please refund me.",
            "How do I return an item that does not fit?",
            "I would like my money back.",
            "I would rather swap it for another size.",
            "The return label does not print.",
            "I sent it back weeks ago and no refund came.",
            "Can I exchange it for something else?",
        ],
        ["refund", "return label", "exchange", "return form", "store credit", "wrong size"],
    ),
    (
        ["technical", "bug", "technical_issue", "it_support"],
        [
            "The app crashes when I open it.",
            "I keep getting an error message.",
            "The screen stays black.",
            "It freezes after the update.",
            "Nothing happens when I press the button.",
            "The page does not load.",
            "It will not connect to the network.",
            "Sync stopped working.",
        ],
        ["app", "update", "website", "error code", "server", "bluetooth", "firmware", "browser", "software"],
    ),
    (
        ["account", "login", "access", "profile"],
        [
            "I cannot log in any more.",
            "My password does not work.",
            "I want to change the address in my profile.",
            "My account was locked.",
            "I never got the reset link.",
            "Please delete my account.",
            "Somebody else used my login.",
            "How do I change my user name?",
        ],
        ["password", "user name", "profile", "two factor code", "account settings", "reset mail"],
    ),
    (
        ["cancellation", "subscription", "contract", "membership"],
        [
            "I want to cancel my subscription.",
            "Please end my contract.",
            "Stop the renewal.",
            "I no longer need the plan.",
            "How long is the notice period?",
            "Please upgrade my plan.",
            "Downgrade me to the basic plan.",
            "I did not agree to be renewed.",
        ],
        ["subscription", "plan", "renewal", "contract", "membership", "trial period"],
    ),
    (
        ["sales", "product_question", "product_info", "purchase"],
        [
            "Does it come in another colour?",
            "Is it in stock?",
            "Which model fits me best?",
            "How much does it weigh?",
            "Do you sell spare parts?",
            "I am thinking of buying one.",
            "What is the difference between the two versions?",
            "Do you offer a price for larger orders?",
        ],
        ["catalogue", "stock", "colour", "model", "warranty", "price list", "quote"],
    ),
    (
        ["travel", "trip", "journey", "transport"],
        [
            "We are flying out in the morning.",
            "The train was late.",
            "I need a rental car.",
            "Our gate was changed.",
            "We missed the connection.",
            "The taxi took us to the airport.",
            "I booked a window seat.",
            "The ferry leaves at noon.",
        ],
        ["flight", "train", "boarding pass", "seat", "luggage", "airport", "ferry", "taxi", "rental car", "passport"],
    ),
    (
        ["hotel", "lodging", "accommodation", "stay"],
        [
            "We need a double room.",
            "Breakfast should be included.",
            "The room was not clean.",
            "Can we check in late?",
            "The bed was far too soft.",
            "I would like a room with a sea view.",
            "The hotel lost our reservation.",
            "The heating in the room was broken.",
        ],
        ["room", "breakfast", "check-in", "suite", "reception", "key card", "reservation", "balcony"],
    ),
    (
        ["food", "restaurant", "dining", "meals"],
        [
            "A table by the window please.",
            "The soup was cold.",
            "We had lunch with a client.",
            "Do you have vegan dishes?",
            "One of us is allergic to nuts.",
            "The waiter forgot our drinks.",
            "Dinner was excellent.",
            "I would like to order a pizza.",
        ],
        ["table", "menu", "dinner", "lunch", "soup", "dessert", "pizza", "salad", "waiter", "coffee"],
    ),
    (
        ["health", "medical", "clinic", "doctor"],
        [
            "I need to see the doctor.",
            "My back hurts since yesterday.",
            "I have a fever and a cough.",
            "Please renew my prescription.",
            "The appointment with the dentist was moved.",
            "My child has a rash.",
            "I feel dizzy.",
            "When do the blood results come?",
        ],
        ["doctor", "dentist", "prescription", "fever", "appointment", "pharmacy", "x-ray", "vaccine"],
    ),
    (
        ["sports", "fitness", "sport", "games"],
        [
            "The match ended in a draw.",
            "She won the race.",
            "Our team lost in the final.",
            "Training is on Thursday.",
            "He scored twice.",
            "The coach changed the line-up.",
            "I joined the gym.",
            "The marathon was hard.",
        ],
        ["match", "team", "coach", "league", "gym", "marathon", "goal", "tournament", "player"],
    ),
    (
        ["music", "audio", "song", "entertainment"],
        [
            "Play something relaxing.",
            "The concert was sold out.",
            "Turn up the volume.",
            "I love this album.",
            "Put this song on my list.",
            "The band played for hours.",
            "Skip this track.",
            "The singer was great.",
        ],
        ["album", "song", "concert", "playlist", "band", "guitar", "singer", "track"],
    ),
    (
        ["weather", "climate", "forecast", "outdoors"],
        [
            "Will it rain tomorrow?",
            "It has been snowing all night.",
            "The storm took the roof off.",
            "It is far too hot today.",
            "The forecast says sun.",
            "Fog closed the road.",
            "How cold will it get?",
            "The wind was very strong.",
        ],
        ["rain", "snow", "storm", "sun", "temperature", "forecast", "wind", "fog"],
    ),
    (
        ["finance", "banking", "money", "investment"],
        [
            "Shares fell sharply today.",
            "I want to open a savings account.",
            "What is the interest rate?",
            "The transfer has not arrived.",
            "The cash machine kept my card.",
            "Profits rose this quarter.",
            "I would like a loan.",
            "What is the exchange rate?",
        ],
        ["loan", "shares", "savings", "interest", "cash machine", "exchange rate", "market", "mortgage"],
    ),
    (
        ["work", "hr", "jobs", "career"],
        [
            "I would like to apply for the job.",
            "My holiday request was not approved.",
            "The salary was paid late.",
            "We are hiring two people.",
            "I am sick and stay at home.",
            "When is the interview?",
            "My contract starts in autumn.",
            "The new colleague starts on Monday.",
        ],
        ["salary", "interview", "holiday request", "job", "colleague", "boss", "application", "overtime"],
    ),
    (
        ["home", "housing", "maintenance", "facilities"],
        [
            "The tap in the kitchen drips.",
            "The heating is off.",
            "The lift is broken again.",
            "There is water on the floor.",
            "The light in the hall flickers.",
            "The rent went up.",
            "My neighbour is too loud.",
            "The lock on the front door sticks.",
        ],
        ["kitchen", "heating", "lift", "roof", "rent", "landlord", "window", "bathroom", "boiler"],
    ),
    (
        ["education", "school", "learning", "training"],
        [
            "The exam was moved.",
            "I would like to join the course.",
            "The teacher is ill.",
            "When is the homework due?",
            "My son did not get his timetable.",
            "The lecture was recorded.",
            "She passed the test.",
            "Which books do we need?",
        ],
        ["exam", "course", "teacher", "homework", "lecture", "timetable", "school", "university"],
    ),
    (
        ["praise", "compliment", "thanks", "positive_feedback"],
        [
            "Great service, thank you.",
            "You made my day.",
            "I am very happy with it.",
            "Your colleague was so kind.",
            "Best shop ever.",
            "It works perfectly.",
            "Keep up the good work.",
            "I will come back for sure.",
        ],
        ["service", "support team", "quality", "staff"],
    ),
    (
        ["complaint", "criticism", "negative_feedback", "dissatisfied"],
        [
            "This is not acceptable.",
            "I am really disappointed.",
            "Nobody answers my mails.",
            "Your staff was rude to me.",
            "Worst service I have ever had.",
            "I waited an hour on the phone.",
            "I will never order here again.",
            "You promised and did nothing.",
        ],
        ["manager", "hotline", "quality", "staff", "promise"],
    ),
]
FRAMES = [
    "I have a question about the {}.",
    "There is something wrong with the {}.",
    "Could you tell me more about the {}?",
    "It is about the {}.",
    "The {} does not work as it should.",
    "Nobody could help me with the {}.",
    "I would like to change the {}.",
    "We talked about the {} before.",
    "Please have a look at the {}.",
    "Is the {} included?",
    "My problem is the {}.",
    "They forgot the {}.",
]
GREETINGS = [
    "Hi,",
    "Hello,",
    "Dear team,",
    "Good morning,",
    "hey",
    "Hi there!",
    "To whom it may concern,",
    "Hello again,",
    "Good evening.",
    "hi all,",
]
CLOSINGS = [
    "Thanks!",
    "Best regards",
    "Thank you in advance.",
    "Cheers",
    "Kind regards",
    "thx",
    "Please get back to me.",
    "Many thanks",
    "Bye",
]

# A closed choice: key names, description, then for each level its label names and its phrases.
SCALES: list[tuple[list[str], str, list[tuple[list[str], list[str]]]]] = [
    (
        ["urgency", "priority", "severity"],
        "how urgent it is",
        [
            (
                ["low", "minor", "p3"],
                ["No rush.", "Whenever you have time.", "It can wait.", "Not urgent at all.", "Just for your information."],
            ),
            (
                ["medium", "normal", "p2"],
                ["Please answer this week.", "I would be glad to hear from you in the next days.", "Please look at it soon."],
            ),
            (
                ["high", "urgent", "p1"],
                ["This is urgent!", "I need it today.", "ASAP please.", "Right now, nothing works.", "It cannot wait.", "Emergency!"],
            ),
        ],
    ),
    (
        ["sentiment", "tone", "mood"],
        "how the writer feels",
        [
            (
                ["negative", "bad", "angry"],
                ["I am furious.", "This is awful.", "I am so tired of this.", "What a mess.", "I hate it.", "Terrible."],
            ),
            (
                ["neutral", "factual", "none"],
                ["I am writing to let you know.", "Here are the details.", "As agreed on the phone.", "For the record."],
            ),
            (
                ["positive", "good", "happy"],
                ["I love it!", "That is wonderful.", "I am so glad.", "Really nice.", "What a great day.", "Excellent work."],
            ),
        ],
    ),
    (
        ["channel", "contact_by", "reply_via"],
        "how the writer wants the answer",
        [
            (["phone", "call"], ["Give me a call.", "Please ring me.", "Call me back please.", "Best to reach me by phone."]),
            (["email", "mail"], ["Write me a mail.", "Please answer by email.", "Drop me a line.", "Send the answer to my inbox."]),
            (["post", "letter"], ["Send me a letter.", "By post please.", "Please write to my postal address."]),
        ],
    ),
    (
        ["size", "fit"],
        "the size that is wanted",
        [
            (["small", "s"], ["I need the small one.", "Size S.", "The smallest you have."]),
            (["medium", "m"], ["Medium please.", "Size M would fit."]),
            (["large", "l"], ["I take a large.", "Size L.", "The biggest one."]),
        ],
    ),
    (
        ["period", "frequency", "interval"],
        "how often",
        [
            (["daily", "every_day"], ["It happens every day.", "Day after day.", "Each morning."]),
            (["weekly", "every_week"], ["Once a week.", "It happens every Monday.", "Week after week."]),
            (["monthly", "every_month"], ["It is once a month.", "At the end of each month.", "Every month."]),
            (["once", "single"], ["It happened only once.", "Just this one time.", "It never happened before."]),
        ],
    ),
]
# A yes/no question: key names, description, phrases for yes, phrases for an explicit no.
FLAGS: list[tuple[list[str], str, list[str], list[str]]] = [
    (
        ["wants_refund", "refund_requested"],
        "whether the writer asks for money back",
        ["I want my money back.", "Please refund me.", "I expect a full refund.", "Refund it."],
        ["I do not want a refund.", "Keep the money."],
    ),
    (
        ["callback", "call_back", "wants_call"],
        "whether a call is wanted",
        ["Please call me back.", "Give me a ring.", "Can someone phone me?"],
        ["No need to call.", "Please do not call me."],
    ),
    (
        ["has_attachment", "attachment", "photo_attached"],
        "whether something is attached",
        ["I attached a photo.", "See the attached file.", "A screenshot is enclosed."],
        ["I have no photo of it.", "Sorry, nothing attached."],
    ),
    (
        ["repeat", "follow_up", "contacted_before"],
        "whether the writer has written before",
        [
            "I wrote to you last week already.",
            "This is the third time I ask.",
            "I am still waiting for an answer.",
            "Again the same trouble.",
        ],
        ["This is my first message.", "I never contacted you before."],
    ),
    (
        ["is_new_customer", "new_customer"],
        "whether the writer is new here",
        ["I am new here.", "This was my first order.", "I just signed up."],
        ["I have been a customer for years.", "I order here all the time."],
    ),
    (
        ["vegetarian", "no_meat"],
        "whether no meat is wanted",
        ["We do not eat meat.", "Vegetarian please.", "No meat for us."],
        ["Meat is fine.", "We eat everything."],
    ),
    (
        ["paid", "is_paid"],
        "whether it has been paid",
        ["I paid already.", "The money was sent yesterday.", "It is paid."],
        ["I have not paid yet.", "It is still unpaid."],
    ),
]
